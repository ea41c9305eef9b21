"""A server in a process of its own, and a caller that speaks plain HTTP with it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Final

import psutil

from tests.conftest import REPOSITORY

LIMIT_S: Final = 120.0
SCRIPTED: Final = "tests.serve.scripted_server"
"""Stands for `edgespec` where engines are scripts."""
Json = Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.body)

    @property
    def error(self) -> Json:
        return self.json["error"]


class Server:
    """`edgespec serve` with options of the test's."""

    def __init__(self, *arguments: str | Path, module: str = "edgespec", **environment: str) -> None:
        command = ["--offline", "serve", "--port", "0", *map(str, arguments)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *command],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        )
        self.lines: list[str] = []
        self.port = 0

    def wait_ready(self) -> "Server":
        """Until the line with its address is there."""
        while not self.port:
            line = self.read_line()
            assert line, self.lines
            if told := re.search(r"at http://[^ ]*:(\d+)/v1; Ctrl-C ends it", line):
                self.port = int(told[1])
        return self

    def read_line(self) -> str:
        """The next line of stderr; an empty one at its end."""
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        self.lines.append(line)
        return line

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)

    def ask(
        self,
        path: str,
        body: Json = None,
        *,
        method: str = "",
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        """One request and its whole reply; a body is sent as JSON, `data` as it is."""
        sent = data if data is not None else None if body is None else json.dumps(body).encode()
        kind = {} if sent is None else {"Content-Type": "application/json"}
        with closing(self.connect()) as connection:
            usual = "GET" if sent is None else "POST"
            connection.request(method or usual, path, sent, {**kind, **(headers or {})})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())

    @contextmanager
    def streaming(self, path: str, body: Json) -> Iterator[Iterator[Json]]:
        """The events of a stream as they come; leaving the block hangs up."""
        with closing(self.connect()) as connection:
            connection.request(
                "POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            yield read_events(answer)

    def stream(self, path: str, body: Json) -> list[Json]:
        """All events of a stream."""
        with self.streaming(path, body) as events:
            return list(events)

    def raw(self, data: bytes, *, receives: bool = True) -> bytes:
        """What is answered to some bytes, until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S) as one:
            one.sendall(data)
            parts: list[bytes] = []
            # Who closes before all was read resets the connection.
            with suppress(ConnectionResetError):
                while receives and (part := one.recv(1 << 16)):
                    parts.append(part)
            return b"".join(parts)

    def engines(self) -> list[psutil.Process]:
        """Engine processes."""
        return [one for one in psutil.Process(self.process.pid).children(recursive=True) if _is_engine(one)]

    def processing_n(self) -> float:
        """Answers under way, as the metrics have it."""
        return self.metric("edgespec_requests_processing")

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self.ask("/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[ {{]", line))

    def end(self, how: int = signal.SIGINT) -> int:
        """Asks it to end; its exit code."""
        self.process.send_signal(how)
        return self.process.wait(timeout=LIMIT_S)

    def close(self) -> None:
        """Leaves nothing of it."""
        if self.process.poll() is None:
            engines = self.engines()
            self.process.kill()
            self.process.wait()
            psutil.wait_procs(engines, timeout=LIMIT_S)
        if self.process.stderr is not None:
            self.process.stderr.close()


def _is_engine(process: psutil.Process) -> bool:
    with suppress(psutil.Error):  # it may be gone by now
        return any("worker.serving" in part or "scripted_engine" in part for part in process.cmdline())
    return False


def read_events(answer: HTTPResponse) -> Iterator[Json]:
    """The data of server-sent events; named ones must have their name as their type."""
    name = ""
    for line in answer:
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            data = text.removeprefix("data: ")
            event = data if data == "[DONE]" else json.loads(data)
            if name:
                assert event["type"] == name
            name = ""
            yield event
        else:
            assert not text or text.startswith(":"), text


def wait_for(is_so: Callable[[], bool]) -> None:
    """Until it is so."""
    began_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - began_s < LIMIT_S
        time.sleep(0.02)
