"""The app in a pseudo-terminal: what it draws, what it leaves of the terminal, and what becomes of it when that goes."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from .home import Home
from .work import EDGESPEC

READY: Final = b"tokens of context"
ANSWERED: Final = b"TTFT"
_LEAVE: Final = b"\x11"
_MODES: Final = {
    "the alternate screen": (b"\x1b[?1049h", b"\x1b[?1049l"),
    "the hidden cursor": (b"\x1b[?25l", b"\x1b[?25h"),
    "mouse reports": (b"\x1b[?1000h", b"\x1b[?1000l"),
    "bracketed paste": (b"\x1b[?2004h", b"\x1b[?2004l"),
}
"""What an app switches on, and what switches it off again."""
_STYLES: Final = re.compile(rb"\x1b\[[\d;:]*m")
_ESCAPES: Final = re.compile(r"\x1b\[[\d;:?<>=]*[A-Za-z]|[\u2500-\u259f]+")


class Terminal:
    """The app in a terminal of 98 columns and 30 lines that is read as fast as it draws.

    Args:
        home: Where.
        arguments: Of edgespec.
        environment: Of the process.
    """

    def __init__(self, home: Home, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._screen, self._tty = pty.openpty()
        fcntl.ioctl(self._tty, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 98, 0, 0))
        self._before = termios.tcgetattr(self._tty)
        self.drawn = bytearray()
        self.process = subprocess.Popen(
            [*EDGESPEC, *arguments],
            stdin=self._tty,
            stdout=self._tty,
            stderr=self._tty,
            cwd=home.folder / "work",
            env={**environment, "TERM": "xterm-256color", "TEXTUAL_ANIMATIONS": "none"},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )

    def read(self, seconds: float) -> None:
        """Takes in what is drawn, for so long at most."""
        deadline = time.monotonic() + seconds
        while self._screen >= 0 and (left_s := deadline - time.monotonic()) > 0:
            if select.select([self._screen], [], [], left_s)[0]:
                with suppress(OSError):
                    self.drawn += os.read(self._screen, 1 << 16)
                return

    def count(self, text: bytes) -> int:
        """How often that was drawn."""
        return _STYLES.sub(b"", bytes(self.drawn)).count(text)

    def words(self, n: int = 600) -> str:
        """The last of what was drawn, without colours and lines."""
        text = _ESCAPES.sub(" ", self.drawn.decode(errors="replace"))
        return " ".join(text.split())[-n:]

    def type(self, text: bytes) -> None:
        """Presses keys."""
        if self._screen >= 0:
            os.write(self._screen, text)

    def hang_up(self) -> None:
        """The terminal's window is closed: the kernel tells the app by SIGHUP."""
        os.close(self._tty)
        os.close(self._screen)
        self._screen = self._tty = -1

    def leave(self, seconds: float) -> int | None:
        """Presses Ctrl+Q until the app has ended: before it takes the keys, they are lost. The exit code as `wait` gives it."""
        deadline = time.monotonic() + seconds
        code = None
        while code is None and time.monotonic() < deadline:
            self.type(_LEAVE)
            code = self.wait(1.0)
        return code

    def wait(self, seconds: float) -> int | None:
        """The exit code, None where it has not ended by then; what is drawn is taken in meanwhile."""
        deadline = time.monotonic() + seconds
        while (code := self.process.poll()) is None and time.monotonic() < deadline:
            if self._screen < 0:
                time.sleep(0.01)
            self.read(0.05)
        while self._screen >= 0 and select.select([self._screen], [], [], 0)[0]:
            self.read(0.05)
        return code

    def left_behind(self) -> Iterator[str]:
        """What of the terminal is not as it was."""
        if self._tty < 0:
            return
        for name, (on, off) in _MODES.items():
            if self.drawn.rfind(on) > self.drawn.rfind(off):
                yield f"{name} stayed"
        if _settings(self._before) != _settings(termios.tcgetattr(self._tty)):
            yield "the terminal's settings are others than before"

    def close(self) -> None:
        """Ends what is left."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for file in (self._tty, self._screen):
            if file >= 0:
                os.close(file)
        self._screen = self._tty = -1


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _settings(found: list[Any]) -> list[Any]:
    return found
