"""A process of a work, with files or a terminal for its streams: how it ends, what it says, and who outlives it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from edgespec.errors import ExitCode

from .patience import Patience

_POLL_S: Final = 0.005
_GRACE_S: Final = 10.0
"""In which whatever a killed process began has to end, too."""
_BUGS: Final = (
    "Traceback",
    "Exception ignored",
    "terminate called",
    "GGML_ASSERT",
    "this is a bug in edgespec",
)


class Running:
    """A process whose streams are files; its children are known by a variable of its environment.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        environment: Its variables.
        streams: A folder for what it says.
    """

    answers: Mapping[str, str] = MappingProxyType({})
    """What its user asked it otherwise than by its streams, and was answered."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], streams: Path
    ) -> None:
        self._streams = streams
        streams.mkdir(exist_ok=True)
        with (streams / "out").open("wb") as out, (streams / "err").open("wb") as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=environment
            )

    def read(self, seconds: float) -> None:
        """Takes in what it says, for so long at most."""
        time.sleep(min(seconds, _POLL_S))

    def count(self, text: bytes) -> int:
        """How often it has said that."""
        return (self._streams / "out").read_bytes().count(text)

    def type(self, text: bytes) -> None:
        """Presses keys; without a terminal there are none."""

    def hang_up(self) -> None:
        """Its terminal goes: the kernel tells it by a signal."""
        self.process.send_signal(signal.SIGHUP)

    def wait(self, seconds: float) -> int | None:
        """The exit code, None where it has not ended by then."""
        patience = Patience(seconds)
        while (code := self.process.poll()) is None and (left_s := patience.left_s()):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(min(left_s, 0.5))
        return code

    def errors(self) -> str:
        """What it said on stderr."""
        return (self._streams / "err").read_text(encoding="utf-8", errors="replace")

    def last_line(self) -> str:
        """Of what it said."""
        lines = [line for line in self.errors().splitlines() if line.strip()]
        return lines[-1][:300] if lines else "(nothing was said)"

    def complaints(self, *, quiet: bool = False) -> Iterator[str]:
        """What a user could hold against its end, where nobody killed it.

        Args:
            quiet: It could say nothing.
        """
        code, said = self.process.returncode, self.errors()
        if code not in set(ExitCode):
            yield f"ended with {describe(code)}: {self.last_line()}"
            return
        if bug := next((bug for bug in _BUGS if bug in said), ""):
            yield f"said '{bug}': {self.last_line()}"
        elif code and not quiet and (n_lines := self._n_errors(said)) != 1:
            yield f"ended with {code} and {n_lines} lines in place of one: {self.last_line()}"

    def _n_errors(self, said: str) -> int:
        lines = [line for line in said.splitlines() if line.startswith("edgespec: ")]
        return sum(not line.startswith(("edgespec: warning: ", "edgespec: note: ")) for line in lines)

    def close(self) -> None:
        """Ends it where it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def describe(code: int) -> str:
    """An exit code in words."""
    return f"code {code}" if code >= 0 else signal.Signals(-code).name


def end_all(token: str, grace_s: float = _GRACE_S) -> tuple[str, ...]:
    """Waits for the processes of a trial, kills those that are still there after a while, and names them."""
    patience = Patience(grace_s)
    while (found := alive(token)) and patience.left_s():
        time.sleep(10 * _POLL_S)
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return tuple(found.values())


def alive(token: str) -> dict[int, str]:
    """Number and command line of every process whose environment has the token."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                if token.encode() in (folder / "environ").read_bytes():
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    found[int(folder.name)] = b" ".join(words).decode(errors="replace")[:120].strip()
    return found
