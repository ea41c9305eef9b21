"""The app served to browsers by a process of its own, and visitors without a browser."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.cli.processes import free_port
from tests.conftest import REPOSITORY

LIMIT_S = 60.0


@dataclass(frozen=True)
class Served:
    """A server in a process of its own, and the line that it told."""

    process: subprocess.Popen[str]
    port: int
    line: str

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """As it was told, with its token."""
        told = re.search(rf"the app is at ({self.origin}/[\w-]{{43}}/); Ctrl-C ends it", self.line)
        assert told is not None, self.line
        return told[1]

    def descendants(self) -> list[psutil.Process]:
        """The apps and their engines."""
        return psutil.Process(self.process.pid).children(recursive=True)


def wait_for(is_there: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not is_there():
        assert time.monotonic() - began < LIMIT_S
        time.sleep(0.05)


def end_all(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that did not end by themselves; they are killed."""
    _, alive = psutil.wait_procs(processes, timeout=20)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    return alive


@pytest.fixture
def serve(isolated_machine: Path, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts `edgespec chat --web` with options of the test's."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Served:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "edgespec", "--offline", "chat", *options, "--web", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        started.append(process)
        assert process.stderr is not None
        return Served(process, port, process.stderr.readline())

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


async def connect(session: aiohttp.ClientSession, served: Served) -> aiohttp.ClientWebSocketResponse:
    """A visitor without a browser."""
    return await session.ws_connect(f"{served.url}ws?width=100&height=30", headers={"Origin": served.origin})


async def read_until(page: aiohttp.ClientWebSocketResponse, text: str) -> None:
    """Reads until the app has drawn that text."""
    drawn = ""
    async with asyncio.timeout(LIMIT_S):
        while text not in drawn:
            message = await page.receive()
            assert message.type is aiohttp.WSMsgType.BINARY, f"it ended at:\n{drawn}"
            drawn += re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", message.data.decode("utf-8", "replace"))
