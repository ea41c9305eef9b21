"""A process in a pseudo-terminal: what it draws, and what it leaves of the terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgespec.errors import ExitCode

from .patience import Patience
from .process import Running, describe

_MODES: Final = {
    "the alternate screen": (b"\x1b[?1049h", b"\x1b[?1049l"),
    "the hidden cursor": (b"\x1b[?25l", b"\x1b[?25h"),
    "mouse reports": (b"\x1b[?1000h", b"\x1b[?1000l"),
    "bracketed paste": (b"\x1b[?2004h", b"\x1b[?2004l"),
}
"""What an app switches on, and what switches it off again."""
_STYLES: Final = re.compile(rb"\x1b\[[\d;:]*m")
_ESCAPES: Final = re.compile(r"\x1b\[[\d;:?<>=]*[A-Za-z]|[\u2500-\u259f]+")


class Terminal(Running):
    """A process in a terminal of 98 columns and 30 lines that is read as fast as it draws.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        environment: Its variables.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._screen, self._tty = pty.openpty()
        fcntl.ioctl(self._tty, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 98, 0, 0))
        self._before = termios.tcgetattr(self._tty)
        self._drawn = bytearray()
        self.is_read = True
        self.process = subprocess.Popen(
            command,
            stdin=self._tty,
            stdout=self._tty,
            stderr=self._tty,
            cwd=folder,
            env={**environment, "TERM": "xterm-256color", "TEXTUAL_ANIMATIONS": "none"},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )

    def read(self, seconds: float) -> None:
        """Takes in what is drawn, for so long at most."""
        if self._screen >= 0 and self.is_read and select.select([self._screen], [], [], seconds)[0]:
            with suppress(OSError):
                self._drawn += os.read(self._screen, 1 << 16)

    def count(self, text: bytes) -> int:
        """How often that was drawn."""
        return _STYLES.sub(b"", bytes(self._drawn)).count(text)

    def type(self, text: bytes) -> None:
        """Presses keys."""
        if self._screen >= 0:
            os.write(self._screen, text)

    def hang_up(self) -> None:
        """The terminal's window is closed: the kernel tells the app by SIGHUP."""
        os.close(self._tty)
        os.close(self._screen)
        self._screen = self._tty = -1

    def wait(self, seconds: float) -> int | None:
        """The exit code, None where it has not ended by then; what is drawn is taken in meanwhile."""
        patience = Patience(seconds)
        while (code := self.process.poll()) is None and patience.left_s():
            if self._screen < 0 or not self.is_read:
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.1)
            self.read(0.05)
        self.is_read = True
        while self._screen >= 0 and select.select([self._screen], [], [], 0)[0]:
            self.read(0.0)
        return code

    def errors(self) -> str:
        """What was drawn, without colours and lines."""
        return _ESCAPES.sub(" ", self._drawn.decode(errors="replace"))

    def last_line(self) -> str:
        """The last of it."""
        return " ".join(self.errors().split())[-600:] or "(nothing was drawn)"

    def complaints(self, *, quiet: bool = False) -> Iterator[str]:
        """What a user could hold against its end; how many lines an error takes is not counted on a screen."""
        code = self.process.returncode
        if code not in set(ExitCode):
            yield f"ended with {describe(code)}: {self.last_line()}"
        elif "Traceback" in self.errors():
            yield f"shows a traceback: {self.last_line()}"
        yield from self._left_behind()

    def _left_behind(self) -> Iterator[str]:
        """What of the terminal is not as it was."""
        if self._tty < 0:
            return
        for name, (on, off) in _MODES.items():
            if self._drawn.rfind(on) > self._drawn.rfind(off):
                yield f"{name} stayed"
        if self._before != termios.tcgetattr(self._tty):
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
