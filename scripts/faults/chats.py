"""Chats in a terminal that are cut off: killed, asked to end, left by the terminal, or with a disk that fails."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from edgespec.errors import ExitCode

from .home import Home
from .layer import Fault, Layer
from .process import alive, describe, end_all
from .terminal import ANSWERED, READY, Terminal
from .trials import Outcome
from .work import Work

End = Literal["kill", "kill-engine", "term", "hang-up", "disk", "clock"]
_QUESTIONS: Final = 3
_LIMIT_S: Final = 60.0
_END_S: Final = 60.0
"""An app that is told to end takes no longer, beside other work either."""
_ARGUMENTS: Final = ("--offline", "chat", "talker.gguf", "--draft", "none", "-t", "1")
_CALLS: Final = 400
"""Changes to the disk that a short chat makes, or more."""


class Chats:
    """Runs chats in homes of their own.

    Args:
        folder: For homes; emptied after each trial.
        inputs: The folder with the model.
        library: The layer.
    """

    def __init__(self, folder: Path, inputs: Path, library: Path) -> None:
        self._folder, self._inputs, self._library = folder, inputs, library
        self._work = Work("chat", _ARGUMENTS, inputs=("talker.gguf",))
        self._duration_s = 0.0

    def trial(self, end: End, seed: int) -> Outcome:
        """A chat that ends so, at a moment by the seed; then one that goes on with it and is left by its key."""
        chance = random.Random(f"chat {end} {seed}")
        if not self._duration_s:
            self._duration_s = self._measure()
        after_s = chance.uniform(0.0, 1.05 * self._duration_s)
        fault = Fault()
        if end == "disk":
            fault = Fault(chance.choice(("fail", "dead", "fsync", "short")), chance.randint(1, _CALLS))
        elif end == "clock":
            fault = Fault("clock", seed)
        elif end == "kill" and seed % 2:
            fault = Fault("kill", chance.randint(1, _CALLS))
        with self._home(seed) as (home, layer):
            cut = end in ("kill", "kill-engine", "term", "hang-up") and fault.kind == "count"
            found = list(self._chat(home, layer, fault, end, after_s if cut else _LIMIT_S))
            found += (f"the next chat: {one}" for one in self._go_on(home))
            found += home.unfinished()
            found += home.unreadable()
        moment = f"after {after_s:.2f} s" if cut else str(fault)
        return Outcome(1, tuple(f"{end} {moment}: {one}" for one in found))

    @contextmanager
    def _home(self, seed: int) -> Iterator[tuple[Home, Layer]]:
        home = Home.make(self._folder / f"chat-{seed}", self._work, self._inputs)
        page = self._folder / f"chat-{seed}-page"
        try:
            yield home, Layer(self._library, home.folder, page)
        finally:
            home.remove()
            page.unlink(missing_ok=True)

    def _measure(self) -> float:
        """Seconds of a chat that nothing happens to."""
        with self._home(-1) as (home, layer):
            began = time.monotonic()
            wrong = list(self._chat(home, layer, Fault(), "clock", _LIMIT_S))
            if wrong:
                raise RuntimeError(f"a chat fails by itself: {wrong}")
            return time.monotonic() - began

    def _chat(self, home: Home, layer: Layer, fault: Fault, end: End, after_s: float) -> Iterator[str]:
        """Asks until the moment comes, and says what is wrong with how it ended."""
        environment = {**home.environment(self._work), **layer.environment(fault)}
        terminal = Terminal(home, _ARGUMENTS, environment)
        try:
            was_asked = _talk(terminal, after_s)
            if terminal.process.poll() is None and was_asked < _QUESTIONS:
                _cut(terminal, end, home)
            elif terminal.process.poll() is None:
                terminal.leave(_END_S)
            code = terminal.wait(_END_S)
            yield from _judge(terminal, code, end, fault)
        finally:
            terminal.close()
            for one in end_all(home.token):
                yield f"outlived by {one}"

    def _go_on(self, home: Home) -> Iterator[str]:
        terminal = Terminal(home, (*_ARGUMENTS, "--continue"), home.environment(self._work))
        try:
            deadline = time.monotonic() + _LIMIT_S
            while (
                not terminal.count(READY) and terminal.process.poll() is None and time.monotonic() < deadline
            ):
                terminal.read(0.2)
            if not terminal.count(READY):
                yield f"does not get ready: {terminal.words()}"
            code = terminal.leave(_END_S)
            if code:
                yield f"ended with {describe(code)}"
            elif code is None:
                yield "did not end"
            yield from terminal.left_behind()
        finally:
            terminal.close()
            end_all(home.token)


def _talk(terminal: Terminal, seconds: float) -> int:
    """Asks one question after the other until the time is over or all are answered; returns how many were."""
    deadline = time.monotonic() + min(seconds, _LIMIT_S)
    n_asked = n_receipts = 0
    while terminal.process.poll() is None and (left_s := deadline - time.monotonic()) > 0:
        is_answered = terminal.count(ANSWERED) > n_receipts if n_asked else terminal.count(READY) > 0
        if is_answered:
            if n_asked == _QUESTIONS:
                return n_asked
            n_asked += 1
            terminal.read(0.1)
            n_receipts = terminal.count(ANSWERED)
            terminal.type(f"what is {n_asked}?".encode())
            terminal.type(b"\r")
        terminal.read(min(left_s, 0.2))
    return min(n_asked, _QUESTIONS - 1)


def _cut(terminal: Terminal, end: End, home: Home) -> None:
    match end:
        case "kill":
            terminal.process.kill()
        case "kill-engine":
            _kill_engine(home.token)
            terminal.read(0.5)
            terminal.leave(_END_S)
        case "term":
            terminal.process.terminate()
        case "hang-up":
            terminal.hang_up()
        case "disk" | "clock":
            terminal.leave(_END_S)


def _kill_engine(token: str) -> None:
    for pid, words in alive(token).items():
        if "edgespec.worker" in words:
            os.kill(pid, signal.SIGKILL)


def _judge(terminal: Terminal, code: int | None, end: End, fault: Fault) -> Iterator[str]:
    if code is None:
        yield f"did not end in {_END_S:.0f} s"
        return
    was_killed = end == "kill"
    if was_killed:
        return
    # Before it has taken the terminal, a signal ends it as any program; a shell says 130 of SIGINT, too.
    signals = (-signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT)
    is_early = end in ("term", "hang-up") and code in signals
    if not is_early and code not in set(ExitCode):
        yield f"ended with {describe(code)}: {terminal.words()}"
    if b"Traceback" in terminal.drawn:
        yield f"shows a traceback: {terminal.words()}"
    yield from terminal.left_behind()
