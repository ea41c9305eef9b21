"""What every source checks: room on the disk before, size and hash after, one writer at a time."""

import hashlib
import logging
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgespec.errors import DiskSpaceError, HashMismatchError
from edgespec.files import is_disk_full
from edgespec.locks import locked
from edgespec.progress import Progress

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_ROOM_HINT = "free some space, or move the folder: EDGESPEC_HOME for wheels, HF_HOME for the hub"


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
            f"{what} needs {_mib(needed_bytes)} and the disk of {existing} has {_mib(free)} free",
            _ROOM_HINT,
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
        f"what arrived as {what} is not the published file: {why}. It was thrown away",
        "pull it again; if that repeats, the source was changed and must not be trusted",
    )


def disk_full(folder: Path, what: str) -> DiskSpaceError:
    """The error for a disk that was full before all of something had come.

    Args:
        folder: Where it went; it must be there.
        what: What it is called.
    """
    free = shutil.disk_usage(folder).free
    return DiskSpaceError(
        f"the disk of {folder} is full ({_mib(free)} free): {what} did not fit. What arrived is kept",
        _ROOM_HINT,
    )


@contextmanager
def full_disk_named(folder: Path, what: str) -> Iterator[None]:
    """Turn a full disk into one of our errors.

    Args:
        folder: What is written in.
        what: What it is called in the message.

    Raises:
        DiskSpaceError: The system said that the disk is full.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise disk_full(folder, what) from None


@contextmanager
def only_writer(lock_file: Path, work: str, progress: Progress, *, keep: bool = True) -> Iterator[None]:
    """Hold a lock between processes for as long as the block runs, which may have to wait for another one to do the same.

    Args:
        lock_file: Made with its folder where it is not there.
        work: What the block does, as in "fetching m".
        progress: Gets a stage of its own while there is something to wait for.
        keep: Leave the lock's file behind, for programs that expect to find it.

    Raises:
        OSError: The file cannot be made.
    """

    def tell() -> None:
        progress.stage(f"waiting for another process that is {work}", unit="bytes")
        _log.warning("another process is %s: waiting for it", work)

    with locked(lock_file, wait_s=math.inf, waiting=tell, keep=keep):
        yield


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MiB"
