"""Asks a server from many connections at once, compares every answer, and looks at its processes in between."""

import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import psutil

from scripts.growth import Growth, Sample, growth_of, take_sample

from .callers import OFFENCES, TROUBLES, WAIT_S, Caller, Question, prompts

_ROUNDS: Final = 40
_LIMIT_SHARE: Final = 0.01
"""That all requests after the warm-up may add to a process."""
_MARGIN: Final = 0.03
"""Nats. What a batch of another size changed in tiny models was below 0.01."""
_TRIED: Final = 50
"""Prompts, for each that is wanted."""
_REST_S: Final = 30.0
"""For what was given up to end, on a machine that does other things too."""


@dataclass(slots=True)
class Load:
    """What became of the requests."""

    answers: Counter[str] = field(default_factory=Counter)
    """By form of question: as they should be."""
    offences: Counter[str] = field(default_factory=Counter)
    """By kind: taken as they should be."""
    troubles: list[str] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    """By process."""
    elapsed_s: float = 0.0

    @property
    def n_requests(self) -> int:
        """All of them."""
        return self.answers.total() + self.offences.total() + len(self.troubles)

    def growths(self, warm_up_n: int) -> list[Growth]:
        """Of each process, after so many requests."""
        warm_up = min(warm_up_n / self.n_requests, 0.5)
        kept = {name: samples for name, samples in self.samples.items() if len(samples) > 3}
        return [growth_of(name, samples, warm_up, limit_share=_LIMIT_SHARE) for name, samples in kept.items()]


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    pid: int

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)) as connection:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[ {{]", line))

    @property
    def busy_n(self) -> float:
        """Answers under way or waiting."""
        return self.metric("edgespec_requests_processing") + self.metric("edgespec_requests_waiting")

    def processes(self) -> dict[str, int]:
        """The ids of its processes: of the server, and of the engine."""
        children = psutil.Process(self.pid).children(recursive=True)
        engines = [
            one.pid for one in children if any("edgespec.worker.serving" in part for part in one.cmdline())
        ]
        return {"server": self.pid} | {f"engine{n or ''}": pid for n, pid in enumerate(engines)}


@contextmanager
def started(model: str, draft: str, *options: str) -> Iterator[Server]:
    """A server for as long as the block runs."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "edgespec",
        "--offline",
        "serve",
        model,
        "--draft",
        draft,
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        [*command, *options],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"at http://[^ ]*:(\d+)/v1", line):
                yield Server(int(found[1]), process.pid)
                break
        else:
            raise RuntimeError("".join(said))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_S)
        process.stderr.close()


def sure_prompts(server: Server, count: int, max_tokens: int, seed: int = 0) -> list[str]:
    """Prompts whose answers hang on no rounding: with those, another text is a fault.

    Raises:
        RuntimeError: the model is sure of too few.
    """
    with closing(Caller("127.0.0.1", server.port)) as caller:
        tried = itertools.islice(prompts(seed), _TRIED * count)
        sure = (one for one in tried if caller.margin(one, max_tokens) > _MARGIN)
        found = list(itertools.islice(sure, count))
    if len(found) < count:
        raise RuntimeError(
            f"of {_TRIED * count} prompts the model is sure of {len(found)} only: ask for shorter answers"
        )
    return found


def answers_of(server: Server, asked: Sequence[Question]) -> dict[Question, list[str]]:
    """What each question gets when nobody else asks."""
    with closing(Caller("127.0.0.1", server.port)) as caller:
        return {one: caller.ask(one) for one in asked}


def load(
    server: Server,
    right: dict[Question, list[str]],
    n_requests: int,
    n_connections: int,
    *,
    seed: int = 0,
    n_rounds: int = _ROUNDS,
    deadline: float = float("inf"),
    told: Callable[[str], None] = print,
) -> Load:
    """Asks, in rounds, and looks at the server after each of them.

    Args:
        server: It may have nobody else to serve meanwhile.
        right: What answers have to be.
        n_requests: In all.
        n_connections: At a time.
        seed: Of what is asked in which order.
        n_rounds: Between which everybody hangs up.
        deadline: By `time.monotonic`: no round begins after it.
        told: Takes a line after each round.
    """
    found, began = Load(), time.monotonic()
    names = server.processes()
    share = max(1, n_requests // n_rounds // n_connections)
    with ThreadPoolExecutor(n_connections) as callers:
        for number in range(n_rounds):
            seeds = [seed * 1_000_003 + number * n_connections + place for place in range(n_connections)]
            for part in callers.map(lambda one: _call(server, right, share, one), seeds):
                _add(found, part)
            _look(server, names, found)
            told(
                f"{found.n_requests} requests, {len(found.troubles)} wrong, {time.monotonic() - began:.0f} s: "
                + ", ".join(f"{name} {kept[-1]}" for name, kept in found.samples.items())
            )
            if time.monotonic() > deadline:
                break
    found.elapsed_s = time.monotonic() - began
    return found


def _call(server: Server, right: dict[Question, list[str]], count: int, seed: int) -> Load:
    """One connection's share of a round: two thirds are questions."""
    found, chance = Load(), random.Random(seed)
    asked, kinds = list(right), list(OFFENCES)
    with closing(Caller("127.0.0.1", server.port)) as caller:
        for _ in range(count):
            if chance.random() < 1 / 3:
                kind = chance.choice(kinds)
                wrong = _tried(lambda kind=kind: caller.offend(kind, chance))  # type: ignore[misc]
                found.offences[kind] += not wrong
                found.troubles += [f"{kind}: {wrong}"] if wrong else []
                continue
            question = chance.choice(asked)
            wrong = _tried(lambda question=question: _compared(caller.ask(question), right[question]))  # type: ignore[misc]
            form = (
                f"{question.path}{' streamed' if question.streams else ''}{' n=2' if question.n > 1 else ''}"
            )
            found.answers[form] += not wrong
            found.troubles += [f"{form} {question.prompt[-20:]!r}: {wrong}"] if wrong else []
            if wrong:
                caller.close()
    return found


def _tried(work: Callable[[], str]) -> str:
    try:
        return work()
    except TROUBLES as error:
        return f"{type(error).__name__}: {error}"


def _compared(got: list[str], right: list[str]) -> str:
    return "" if got == right else f"another text than alone: {got!r} and not {right!r}"


def _add(found: Load, part: Load) -> None:
    found.answers += part.answers
    found.offences += part.offences
    found.troubles += part.troubles


def _look(server: Server, names: dict[str, int], found: Load) -> None:
    """Waits for rest, and books how the processes stand."""
    waited = time.monotonic() + _REST_S
    while server.busy_n and time.monotonic() < waited:
        time.sleep(0.02)
    if n_stuck := server.busy_n:
        found.troubles.append(f"{n_stuck:.0f} answers are still under way, and nobody waits for them")
    if (now := server.processes()) != names:
        found.troubles.append(f"processes were {names} and are {now}")
    for name, pid in names.items():
        if pid not in now.values():
            continue
        kept = found.samples.setdefault(name, [])
        taken = take_sample(pid, found.n_requests)
        # Connections that were hung up on are closed in their own time.
        while kept and taken.n_handles > kept[0].n_handles and time.monotonic() < waited:
            time.sleep(0.05)
            taken = take_sample(pid, found.n_requests)
        kept.append(taken)


def tiny_pair(folder: Path) -> tuple[str, str]:
    """A target of random weights, and a draft that agrees with it in most places."""
    from tests.tiny import CHAT_TEMPLATE, TinyShape, make_tiny_model

    shape = TinyShape(context=2048)
    target = make_tiny_model(folder / "tiny.gguf", chat_template=CHAT_TEMPLATE, shape=shape)
    draft = make_tiny_model(folder / "tiny-draft.gguf", noise=0.05, shape=shape)
    return str(target), str(draft)
