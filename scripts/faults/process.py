"""A command in a process of its own: how it ended, what it said, and who outlived it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgespec.errors import ExitCode

from .home import Home
from .work import Work

LIMIT_S: Final = 600.0
"""Nothing that is run here takes so long: what does has hung."""
_GRACE_S: Final = 10.0
"""In which whatever a killed process began has to end, too."""
_POLL_S: Final = 0.005
_BUGS: Final = (
    "Traceback",
    "Exception ignored",
    "terminate called",
    "GGML_ASSERT",
    "this is a bug in edgespec",
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over."""

    code: int
    """Negative: the signal that ended it."""
    out: str
    err: str
    duration_s: float
    survivors: tuple[str, ...] = ()
    """Command lines of processes that it began and that did not end with it."""
    hung: bool = False

    def complaints(self) -> Iterator[str]:
        """What a user could hold against this end, where nobody killed it."""
        yield from self.left_alive()
        if self.code not in set(ExitCode):
            yield f"ended with {describe(self.code)}: {_last_line(self.err)}"
            return
        said = [line for line in self.err.splitlines() if line.startswith("edgespec: ")]
        errors = [line for line in said if not line.startswith(("edgespec: warning: ", "edgespec: note: "))]
        if bug := next((bug for bug in _BUGS if bug in self.err), ""):
            yield f"said '{bug}': {_last_line(self.err)}"
        if self.code and len(errors) != 1:
            yield f"ended with {self.code} and {len(errors)} lines in place of one: {_last_line(self.err)}"

    def left_alive(self) -> Iterator[str]:
        """Processes that stayed."""
        if self.hung:
            yield f"did not end in {LIMIT_S:.0f} s"
        for one in self.survivors:
            yield f"outlived by {one}"


def describe(code: int) -> str:
    """An exit code in words."""
    return f"code {code}" if code >= 0 else signal.Signals(-code).name


def run(
    work: Work,
    home: Home,
    layer: Mapping[str, str] | None = None,
    *,
    kill_after_s: float | None = None,
    before: Sequence[str] = (),
    limit_s: float = LIMIT_S,
    grace_s: float = _GRACE_S,
) -> Ended:
    """Runs a work to its end.

    Args:
        work: What is done.
        home: Where.
        layer: Variables of the layer that it meets.
        kill_after_s: SIGKILL for its first process, so long after its start.
        before: A command that runs it in place of itself, such as one that sets limits.
        limit_s: Killed after so long, as hung.
        grace_s: In which whatever it began has to end, too.
    """
    streams = home.folder.with_name(f"{home.folder.name}-streams")
    streams.mkdir(exist_ok=True)
    with (streams / "out").open("wb") as out, (streams / "err").open("wb") as err:
        began = time.monotonic()
        process = subprocess.Popen(
            [*before, *work.program, *work.arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=home.folder / "work",
            env={**home.environment(work), **(layer or {})},
        )
        hung = not _wait(process, limit_s if kill_after_s is None else kill_after_s)
        if hung:
            process.kill()
        process.wait()
        duration_s = time.monotonic() - began
    hung = hung and kill_after_s is None
    survivors = end_all(home.token, 0.0 if hung else grace_s)
    said, errors = ((streams / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
    return Ended(process.returncode, said, errors, duration_s, survivors, hung)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return True
    return False


def end_all(token: str, grace_s: float = _GRACE_S) -> tuple[str, ...]:
    """Waits for the processes of a trial, kills those that are still there after a while, and names them."""
    deadline = time.monotonic() + grace_s
    while (found := alive(token)) and time.monotonic() < deadline:
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


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "(nothing was said)"
