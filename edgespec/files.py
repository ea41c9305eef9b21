"""Files that are there whole or not at all, and scratch folders that do not outlive their writers for long.

All state that two processes share is written here. A writer works in a scratch folder of a random name beside the file,
and holds a lock in it: who gets that lock knows that the writer is gone, and clears the folder (`clear_leftovers`, before
every write). A note of each folder is kept with edgespec's own state, so that it is found wherever it is.

    with changing(file) as file:                  # nobody else changes it meanwhile,
        text = changed(file.read_text())          # so it is read anew
        with written_whole(file) as unfinished:   # readers see the old file or the new one
            unfinished.write_text(text)
"""

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgespec.locks import is_that_file, locked, try_lock
from edgespec.paths import scratch_notes_dir

_REPLACE_TRIES: Final = 10
_REPLACE_PAUSE_S: Final = 0.05
"""Both bound the wait for a file that another program has open: half a second."""
_PREFIX: Final = ".edgespec-"
_LOCK: Final = "lock"
_UNFINISHED: Final = ".new"
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a writer that was killed has left."""

    path: Path
    size_bytes: int


def is_disk_full(error: BaseException) -> bool:
    """Whether that is what an error says."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def changing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Lets nobody else change a file while the block runs, which reads it anew and writes it whole.

    Args:
        path: Need not be there; its folder is made.
        private: Only this user may look into a new folder.

    Yields:
        The file itself, where `path` is a link.

    Raises:
        BlockingIOError: another process is at it for longer than ten seconds.
        OSError: its folder cannot be made or written to.
    """
    path = path.resolve()
    _make_folder(path.parent, private=private)
    with locked(path.with_name(f".{path.name}.lock")):
        yield path


@contextmanager
def written_whole(path: Path, *, make_folder: bool = True, private: bool = False) -> Iterator[Path]:
    """A name to write under; when the block ends well, the file is on the disk and takes its final name.

    Readers see the old file or the new one, and nothing stays of a block that failed. A file that was there keeps its
    mode, and a link to it stays a link.

    Args:
        path: The final name.
        make_folder: Make its folder where there is none.
        private: Only this user may read a new file, and look into a new folder.

    Raises:
        OSError: the folder cannot be made, the file not be written, or the name not be taken.
    """
    path = path.resolve()
    if make_folder:
        _make_folder(path.parent, private=private)
    with scratch_folder(path.parent) as folder:
        unfinished = folder / path.name
        yield unfinished
        if private:
            _set_mode(unfinished, 0o600)
        put_in_place(unfinished, path)


def put_in_place(source: Path, target: Path) -> None:
    """Gives a finished file its final name, once all of it is on the disk; the mode of what it replaces is kept.

    Raises:
        OSError: the disk fails, or the name cannot be taken.
    """
    with source.open("r+b") as file:
        os.fsync(file.fileno())
    with suppress(FileNotFoundError):
        _set_mode(source, stat.S_IMODE(target.stat().st_mode))
    _replace(source, target)
    if os.name == "posix":
        # Without this a power cut may take the name back.
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            with suppress(OSError):  # some file systems of the network cannot
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _set_mode(path: Path, mode: int) -> None:
    with suppress(OSError):  # a file system that knows no modes
        path.chmod(mode)


def _replace(source: Path, target: Path) -> None:
    """os.replace, tried again for a while: Windows refuses as long as another program has the target open."""
    for _ in range(_REPLACE_TRIES):
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(_REPLACE_PAUSE_S)
        else:
            return
    source.replace(target)


def _make_folder(folder: Path, *, private: bool = False) -> None:
    """Makes a folder and those above it, which others may look into as always."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700 if private else 0o777, exist_ok=True)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder of this process's own, removed at the end. What writers that are gone have left is cleared first.

    Args:
        parent: Where it is made; it must be there.

    Raises:
        OSError: it cannot be made.
    """
    parent = parent.resolve()
    clear_leftovers(parent)
    folder, descriptor = _claim_new(parent)
    try:
        yield folder
    finally:
        _remove(folder, descriptor)
        _forget(folder)


def _write_note(folder: Path) -> None:
    note = scratch_notes_dir() / folder.name
    # In a home that cannot be written to there is none: who looks beside the file finds the folder all the same.
    with suppress(OSError):
        _make_folder(note.parent, private=True)
        unfinished = note.with_name(note.name + _UNFINISHED)
        unfinished.write_text(str(folder), encoding="utf-8")
        unfinished.replace(note)


def clear_leftovers(*places: Path) -> None:
    """Removes the scratch folders of writers that are gone, in these folders and wherever a note says."""
    for folder in _find_folders(*places):
        with suppress(OSError):  # somebody was faster, or this is a file system that cannot be written to
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600)
            if _is_dead(descriptor, folder):
                _remove(folder, descriptor)
            else:
                os.close(descriptor)
    _forget_gone()


def find_leftovers(*places: Path) -> list[Leftover]:
    """What `clear_leftovers` would remove; nothing is touched."""
    found: list[Leftover] = []
    for folder in _find_folders(*places):
        with suppress(OSError):
            if _is_left(folder):
                size = sum(one.lstat().st_size for one in folder.rglob("*") if not one.is_dir())
                found.append(Leftover(folder, size))
    return found


def _is_left(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | _NO_LINK)
    except FileNotFoundError:
        return folder.is_dir()  # killed before it had its lock, or after
    try:
        return _is_dead(descriptor, folder)
    finally:
        os.close(descriptor)


def _is_dead(descriptor: int, folder: Path) -> bool:
    """Whether the writer is gone; then the lock is ours. On a file system without locks nobody can know."""
    try:
        return try_lock(descriptor) and is_that_file(descriptor, folder / _LOCK)
    except OSError:
        return False


def _claim_new(parent: Path) -> tuple[Path, int]:
    """A new folder, with its lock held; who clears up may be faster than the lock, then another one is made."""
    is_within_another = any(part.startswith(_PREFIX) for part in parent.parts)
    while True:
        folder = parent / f"{_PREFIX}{os.urandom(8).hex()}"
        try:
            if not is_within_another:  # else it goes with that
                # First of all: who is killed now leaves a note of nothing, and no folder that nobody knows of.
                _write_note(folder)
            if (descriptor := _claim(folder)) is not None:
                return folder, descriptor
        except OSError:
            _forget(folder)
            raise
        _forget(folder)


def _claim(folder: Path) -> int | None:
    """Makes a folder and takes its lock; None where somebody who clears up was faster."""
    folder.mkdir(mode=0o700)
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except (FileNotFoundError, FileExistsError):
        return None
    except OSError:
        folder.rmdir()
        raise
    try:
        if try_lock(descriptor) and is_that_file(descriptor, folder / _LOCK):
            return descriptor
    except OSError:
        return descriptor  # no locks here: nobody will clear it
    os.close(descriptor)
    return None


def _remove(folder: Path, descriptor: int) -> None:
    """Removes a folder whose lock is held. The lock goes last, so that one that is half removed is found again."""
    with suppress(OSError):
        for one in list(folder.iterdir()):
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one, ignore_errors=True)
            elif one.name != _LOCK:
                with suppress(OSError):
                    one.unlink()
    os.close(descriptor)
    with suppress(OSError):
        if [one.name for one in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()


def _find_folders(*places: Path) -> list[Path]:
    """Scratch folders of this user: those in the places, and those that notes tell of."""
    found = list(_noted().values())
    for place in places:
        with suppress(OSError):
            found += [one for one in place.resolve().iterdir() if one.name.startswith(_PREFIX)]
    return [folder for folder in dict.fromkeys(found) if _is_own_folder(folder)]


def _is_own_folder(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and (os.name != "posix" or status.st_uid == os.geteuid())


def _noted() -> dict[Path, Path]:
    """Notes, with the folders that they tell of."""
    noted: dict[Path, Path] = {}
    with suppress(OSError):
        for note in scratch_notes_dir().iterdir():
            with suppress(OSError, ValueError):
                folder = Path(note.read_text(encoding="utf-8"))
                if folder.is_absolute() and folder.name == note.name and folder.name.startswith(_PREFIX):
                    noted[note] = folder
    return noted


def _forget(folder: Path) -> None:
    with suppress(OSError):
        (scratch_notes_dir() / folder.name).unlink()


def _forget_gone() -> None:
    """Deletes the notes of folders that are gone; a disk or a machine that is not here may come back.

    A note that tells of nothing goes too: one that lost power has emptied, or one that is being written, whose writer loses a hint.
    """
    noted = _noted()
    with suppress(OSError):
        for note in list(scratch_notes_dir().iterdir()):
            folder = noted.get(note)
            tells_nothing = folder is None and note.name.startswith(_PREFIX)
            if tells_nothing or (folder and folder.parent.is_dir() and not folder.exists()):
                with suppress(OSError):
                    note.unlink()
