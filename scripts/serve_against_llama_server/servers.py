"""The two servers, each in a process of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, TypeVar

Found = TypeVar("Found")
LLAMA: Final = "llama-server"
EDGESPEC: Final = "edgespec serve"
_START_S: Final = 600.0
_END_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Contest:
    """What both are started with."""

    binary: Path
    target: Path
    draft: Path | None
    threads: int
    n_ctx: int
    """Of one conversation."""
    llama_args: Sequence[str]
    edgespec_args: Sequence[str]


@contextmanager
def both_started(contest: Contest, n_parallel: int) -> Iterator[dict[str, int]]:
    """The ports of both, by name, while the block runs. The one that is not asked takes no time."""
    with ExitStack() as stack:
        yield {
            EDGESPEC: stack.enter_context(_edgespec_started(contest, n_parallel)),
            LLAMA: stack.enter_context(_llama_started(contest, n_parallel)),
        }


@contextmanager
def _edgespec_started(contest: Contest, n_parallel: int) -> Iterator[int]:
    draft = str(contest.draft) if contest.draft else "none"
    options = ["-t", str(contest.threads), "-c", str(contest.n_ctx), "-np", str(n_parallel)]
    command = [sys.executable, "-P", "-m", "edgespec", "--offline", "serve", str(contest.target)]
    command += ["--draft", draft, "--port", "0", *options, *contest.edgespec_args]
    with _running(command, {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}) as (process, log):
        found = _wait(process, log, lambda text: re.search(r"at http://[^ ]*:(\d+)/v1; Ctrl-C ends it", text))
        yield int(found[1])


@contextmanager
def _llama_started(contest: Contest, n_parallel: int) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(contest.binary), "-m", str(contest.target), "--host", "127.0.0.1", "--port", str(port)]
    command += ["-md", str(contest.draft)] if contest.draft else []
    # Its context is shared out among its slots.
    command += ["-t", str(contest.threads), "-np", str(n_parallel), "-c", str(contest.n_ctx * n_parallel)]
    with _running([*command, *contest.llama_args], {}) as (process, log):
        _wait(process, log, lambda _text: _is_healthy(port) or None)
        yield port


@contextmanager
def _running(
    command: Sequence[str], environment: dict[str, str]
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    with tempfile.TemporaryDirectory(prefix="edgespec-contest-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **environment},
            )
        try:
            yield process, log
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: "subprocess.Popen[bytes]", log: Path, look: Callable[[str], Found | None]) -> Found:
    """Until something is found by looking at what the process said."""
    text, began_s = "", time.monotonic()
    while time.monotonic() - began_s < _START_S:
        text = log.read_text(encoding="utf-8", errors="replace")
        if found := look(text):
            return found
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise RuntimeError(f"{process.args!r} did not start:\n{text[-3000:]}")


def _is_healthy(port: int) -> bool:
    with suppress(OSError), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    return False
