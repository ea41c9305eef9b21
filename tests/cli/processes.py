"""edgespec in a process of its own, for what needs real signals and real streams."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

needs_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="a test cannot send Ctrl-C to one process there"
)


def start(*arguments: str | Path, **streams: int) -> subprocess.Popen[bytes]:
    """Starts `edgespec ARGUMENTS` in the home of this test, with nothing on stdin."""
    return subprocess.Popen(
        [sys.executable, "-m", "edgespec", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=streams.get("stdout", subprocess.PIPE),
        stderr=streams.get("stderr", subprocess.PIPE),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def interrupt(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Sends Ctrl-C; the exit code and what was still to read of stdout and stderr."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, (out or b"").decode("utf-8", "replace"), (err or b"").decode()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening_addresses(process: int) -> set[tuple[str, int]]:
    """Addresses and ports at which a process can be reached."""
    found = psutil.Process(process).net_connections()
    return {(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN}
