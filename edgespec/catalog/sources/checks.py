"""What every source checks: room on the disk before, size and hash after, one writer at a time."""

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgespec.errors import DiskSpaceError, DownloadError, HashMismatchError
from edgespec.progress import Progress

_CHUNK_BYTES = 1 << 20
_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
"""What the two systems say when somebody else holds a lock."""


def check_disk_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Check that so many bytes fit a folder's disk.

    Args:
        folder: Need not exist yet.
        needed_bytes: How many.
        what: What they are of, for the message.

    Raises:
        DiskSpaceError: They do not; the message gives both numbers.
    """
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed_bytes > free:
        raise DiskSpaceError(
            f"{what} needs {_mib(needed_bytes)} and the disk of {existing} has {_mib(free)} free.",
            "Free some space, or move the folder: EDGESPEC_HOME for wheels, HF_HOME for the hub.",
        )


def check_file(path: Path, what: str, size_bytes: int | None, sha256: str | None, progress: Progress) -> None:
    """Compare a file with its published size and hash; None skips a check.

    Args:
        path: The file.
        what: What it is called in messages.
        size_bytes: Its published size.
        sha256: Its published hash, 64 lower-case hexadecimal digits.
        progress: Gets a stage of its own, in bytes, where there is a hash to check.

    Raises:
        HashMismatchError: They differ. The file is left where it is: the caller knows what belongs to it.
    """
    size = path.stat().st_size
    if size_bytes is not None and size != size_bytes:
        raise mismatch(what, f"it has {size} bytes instead of {size_bytes}")
    if sha256 is None:
        return
    digest = hashlib.sha256()
    progress.stage(f"checking {what}", size, unit="bytes")
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            progress.advance(len(chunk))
    if digest.hexdigest() != sha256:
        raise mismatch(what, f"its sha256 is {digest.hexdigest()} instead of {sha256}")


def mismatch(what: str, why: str) -> HashMismatchError:
    """The error for a file whose bytes are not the published ones: what it is called, and a clause that says why."""
    return HashMismatchError(
        f"What arrived as {what} is not the published file: {why}. It was thrown away.",
        "Pull it again; if that repeats, the source was changed and must not be trusted.",
    )


@contextmanager
def only_writer(lock_file: Path) -> Iterator[None]:
    """Hold a lock between processes for as long as the block runs; a file system without locks gives none.

    Args:
        lock_file: Made with its folder where it is not there, and left behind.

    Raises:
        DownloadError: Another process holds it.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w", encoding="utf-8") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            # Anything else means that this file system has no locks: then we do without.
            if error.errno in _HELD:
                raise DownloadError(
                    f"Another process is fetching into {lock_file.parent}.", "Wait for it, then try again."
                ) from None
        yield


def _lock(descriptor: int) -> None:
    # Both locks go with the process, so a crash leaves none behind.
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def flush_to_disk(descriptor: int) -> None:
    """Make what was written survive a power cut."""
    os.fsync(descriptor)


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MiB"
