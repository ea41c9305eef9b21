"""Runs one thing in a child that is forked from a warm parent, within limits of time and memory."""

import contextlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROCESSOR_S: Final = 20
"""Of the processor. The slowest sound file takes less than two."""
WALL_S: Final = 90.0
"""In which nothing of it runs, or wants to: where others have the processor, that is not its fault."""
MEMORY_BYTES: Final = 2 << 30
"""Of address space, beyond what the parent has."""
_MOST_READ: Final = 1 << 20
_SLEEP_S: Final = 0.003
STEP_S: Final = 0.5
"""Between two looks at what waits: time for which all of this was stopped does not count."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    code: int | None
    """None where a signal ended it."""
    signal_name: str
    """Empty where none did."""
    timed_out: bool
    out: str
    err: str
    grown_bytes: int
    """Resident memory at its peak, beyond the parent's."""


def run_in_child(action: Callable[[], int], folder: Path) -> Ended:
    """Runs `action` in a child, whose exit code it returns.

    Args:
        action: What to do. The child works in `folder`, in a session of its own that ends with it.
        folder: Takes what it prints.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    before = _resident_bytes()
    pid = os.fork()
    if not pid:
        _be_the_child(action, folder)
    status, timed_out, peak_bytes = _wait(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # what it left running
    exited = os.WIFEXITED(status)
    return Ended(
        code=os.WEXITSTATUS(status) if exited else None,
        signal_name="" if exited else signal.Signals(os.WTERMSIG(status)).name,
        timed_out=timed_out,
        out=_read(folder / "stdout"),
        err=_read(folder / "stderr"),
        grown_bytes=max(0, peak_bytes - before),
    )


def _be_the_child(action: Callable[[], int], folder: Path) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        _redirect(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_S, PROCESSOR_S + 1))
        most = address_bytes() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        code = action()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _redirect(folder: Path) -> None:
    for number, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
        flags = os.O_RDONLY if not number else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(name if not number else folder / name, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)


def _wait(pid: int) -> tuple[int, bool, int]:
    """Its status, whether it took too long, and its peak of resident memory."""
    waited_s, looked_s, timed_out = 0.0, time.monotonic(), False
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            is_over = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
            return status, timed_out or is_over, usage.ru_maxrss * 1024
        if time.monotonic() - looked_s > STEP_S:
            looked_s = time.monotonic()
            waited_s += 0.0 if wants_processor(pid) else STEP_S
        if not timed_out and waited_s > WALL_S:
            timed_out = True
            os.killpg(pid, signal.SIGKILL)
        time.sleep(_SLEEP_S)


def wants_processor(session: int) -> bool:
    """Whether any other process of a session runs, waits for its turn to, or for the disk."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        if file.parent.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            state, _, _, its_session = file.read_text(errors="replace").rpartition(")")[2].split()[:4]
            if its_session == str(session) and state in "RD":
                return True
    return False


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def address_bytes() -> int:
    """Address space of this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_READ).decode("utf-8", "replace")
    except OSError:
        return ""
