"""The server, on a port of this machine: two callers who ask in streams, in three protocols, and SIGTERM at the end."""

import itertools
import random
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from threading import Thread
from typing import Final

import psutil

from scripts.serve_load.callers import TROUBLES, Caller, Question, prompts, questions

from .patience import Patience
from .process import Running
from .work import Work

SCRIPT: Final = ("A", *(f" heron{number}" for number in range(120)))
"""What its model answers, a token each."""
_CALLERS: Final = 2
_PROMPTS: Final = 12
_PROTOCOLS: Final = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
"""In which the model's template is used, and the answer known."""
_TRIES: Final = 5
"""Who was told that the engine had ended asks again, as clients do."""
_PAUSE_S: Final = 0.1
_PORTS: Final = range(20_000, 32_000)
"""Which the system gives to nobody who does not name them."""


@dataclass(frozen=True, slots=True)
class Serve(Work):
    """A server that keeps its conversations on disk; every start listens on the same port."""

    port: int = 0

    def use(self, running: Running, seconds: float) -> bool:
        """Has callers ask until all have their answers; who is cut short leaves them in the middle of their streams."""
        answers: dict[str, str] = {}
        running.answers = answers
        asked = _questions()
        callers = [
            Thread(target=_ask, args=(self.port, asked[place::_CALLERS], running, answers), daemon=True)
            for place in range(_CALLERS)
        ]
        for caller in callers:
            caller.start()
        patience = Patience(seconds)
        while running.process.poll() is None and patience.left_s():
            if not any(caller.is_alive() for caller in callers):
                return True
            running.read(0.05)
        return running.process.poll() is not None

    def leave(self, running: Running, seconds: float) -> int | None:
        """SIGTERM, as a service manager ends it; a second one changes nothing."""
        if (server := _server_of(running)) is not None:
            with suppress(psutil.Error):
                server.terminate()
        return running.wait(seconds)

    def missed(self, running: Running) -> Iterator[str]:
        """Answers."""
        yield from Work.missed(self, running)
        if missing := len(_questions()) - len(running.answers):
            yield f"{missing} questions got no answer: {running.last_line()}"

    def troubles(self, running: Running) -> Iterator[str]:
        """A wrong answer, and a port that is not free again."""
        right = "".join(SCRIPT)
        answers = dict(running.answers)  # a caller may still write down its last
        yield from (f"{name} was answered '{text}'" for name, text in answers.items() if text != right)
        if not _is_free(self.port):
            yield f"port {self.port} is still taken"


def make_serve(model: str) -> Serve:
    """The work, with a port of its own.

    Args:
        model: A file among the inputs, that answers with `SCRIPT`.
    """
    port = next(port for port in random.sample(_PORTS, len(_PORTS)) if _is_free(port))
    engine = ("--draft", "none", "-t", "1", "-np", "2", "--cache-dir", "kept", "--cache-ram", "4")
    arguments = ("--offline", "serve", model, "--port", str(port), *engine)
    return Serve("serve", arguments, inputs=(model,), varies=True, port=port)


def _questions() -> Sequence[Question]:
    asked = questions(itertools.islice(prompts(), _PROMPTS), 2 * len(SCRIPT))
    return [one for one in asked if one.streams and one.path in _PROTOCOLS]


def _ask(port: int, asked: Sequence[Question], running: Running, answers: dict[str, str]) -> None:
    """What one caller does for as long as the server is there."""
    while not _is_ready(port):
        if running.process.poll() is not None:
            return
        time.sleep(_PAUSE_S)
    with closing(Caller("127.0.0.1", port)) as caller:
        for question in asked:
            for _ in range(_TRIES):
                try:
                    (answers[f"{question.path} {question.prompt}"],) = caller.ask(question)
                    break
                except TROUBLES:
                    caller.close()
                    if running.process.poll() is not None:
                        return
                    time.sleep(_PAUSE_S)
            else:
                return


def _is_ready(port: int) -> bool:
    """As a service manager looks: with streams that are closed it could not say so."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=10.0)) as connection, suppress(*TROUBLES):
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    return False


def _is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
            one.listen()
        except OSError:
            return False
    return True


def _server_of(running: Running) -> psutil.Process | None:
    """Its process, where a shell began it, too; None when it is gone."""
    with suppress(psutil.Error):
        began = psutil.Process(running.process.pid)
        family = [began, *began.children(recursive=True)]
        return next((one for one in family if one.cmdline()[:1] == [sys.executable]), None)
    return None
