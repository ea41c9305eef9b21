"""`edgespec rpc-serve` for tests, in a process of its own on loopback."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cli.processes import free_port, start


def line_of(stream: Any) -> str:
    return stream.readline().decode()


@contextmanager
def server() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`edgespec rpc-serve` in a process of its own, and its address, once it says that it listens."""
    port = free_port()
    process = start("rpc-serve", "--port", str(port), "-t", "1", stdout=subprocess.DEVNULL)
    try:
        said = line_of(process.stderr)
        assert f"listening on 127.0.0.1:{port}, offering CPU" in said
        wait_until_it_listens(port)
        yield process, f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def wait_until_it_listens(port: int) -> None:
    """It says so just before."""
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nobody listens on {port}")
