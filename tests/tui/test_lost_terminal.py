"""The terminal goes while the app is drawn on it: the app ends, and its engine with it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edgespec.errors import ExitCode
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(os.name != "posix", reason="terminals are those of POSIX")
LIMIT_S = 60.0


@pytest.fixture
def screen() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: the side of its window, and that of the app."""
    import pty

    ends = pty.openpty()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def read_until(screen: int, text: bytes) -> None:
    drawn = b""
    while text not in drawn:
        drawn += os.read(screen, 1 << 16)


def take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("tells", [True, False], ids=["with a signal", "without one"])
def test_an_app_ends_with_its_terminal(screen: tuple[int, int], tiny_model: Path, tells: bool) -> None:
    window, terminal = screen
    process = subprocess.Popen(
        [sys.executable, "-m", "edgespec", "--offline", "chat", tiny_model, "--draft", "none"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color"},
        start_new_session=True,
        preexec_fn=take_terminal if tells else None,
    )
    os.close(terminal)
    try:
        read_until(window, b"\x1b[?1049h")
        os.close(window)
        process.wait(LIMIT_S)
        assert process.returncode in {*ExitCode, -signal.SIGHUP}
    finally:
        process.kill()
        process.wait()
