"""Locks between processes, on files. The system takes them from a process that ends, however it ends.

They and not process numbers say who is alive: homes are shared between machines, and between containers that count
their processes each from one. Both kinds of lock are those that huggingface_hub takes, through `filelock`; that
library itself is not used, because without them it goes by process numbers.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_HELD: Final = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
"""What the systems say when somebody else holds a lock."""
_LOOK_EVERY_S: Final = 0.05
_WAIT_S: Final = 10.0
"""For a file that others change in milliseconds: one that was stopped while it did must not stop everybody."""


@contextmanager
def locked(
    file: Path, *, wait_s: float = _WAIT_S, waiting: Callable[[], None] = lambda: None, keep: bool = False
) -> Iterator[None]:
    """Holds a lock for as long as the block runs; a file system that has no locks gives none.

    Args:
        file: Made with its folder where it is not there.
        wait_s: How long to wait for another holder.
        waiting: Called once, when there is one to wait for.
        keep: Leave the file behind, for programs that expect to find it.

    Raises:
        BlockingIOError: another one holds it for longer than `wait_s`.
        OSError: the file cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(file, wait_s, waiting)
    try:
        yield
    finally:
        # Deleted while it is open, so that nobody gets the lock of a file that is about to go. Windows deletes no file that is open
        # anywhere, which comes to the same.
        if sys.platform == "win32":
            os.close(descriptor)
        if not keep:
            with suppress(OSError):
                file.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def _acquire(file: Path, wait_s: float, waiting: Callable[[], None]) -> int:
    began_s, has_told = time.monotonic(), False
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if try_lock(descriptor) and is_that_file(descriptor, file):
                return descriptor
        except OSError:
            return descriptor  # no locks here: then we do without
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() - began_s >= wait_s:
            raise BlockingIOError(errno.EAGAIN, "another process holds it", str(file))
        if not has_told:
            waiting()
            has_told = True
        time.sleep(_LOOK_EVERY_S)


def try_lock(descriptor: int) -> bool:
    """Takes the lock of an open file until it is closed; False where somebody else has it.

    Raises:
        OSError: this file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def is_left_behind(file: Path) -> bool:
    """Whether a process ended while it held the lock of a file; on a file system without locks nobody can know."""
    try:
        descriptor = os.open(file, os.O_RDWR)
    except OSError:
        return False
    try:
        return try_lock(descriptor) and is_that_file(descriptor, file)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def is_that_file(descriptor: int, file: Path) -> bool:
    """Whether an open file is the one of that name: who held its lock before may have deleted it."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
