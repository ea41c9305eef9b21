"""Carries a plan out in bounded memory: what is unchanged is copied byte for byte, the rest computed one by one."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

from edgespec.errors import DiskSpaceError, ModelFileError, UsageError
from edgespec.files import is_disk_full, written_whole
from edgespec.llama.library import load_library
from edgespec.progress import SILENT, Progress
from quant.gguf.plan import GgufPlan
from quant.gguf.tensor_sources import Output


def write_gguf(
    plan: GgufPlan, destination: Path, *, force: bool = False, progress: Progress = SILENT
) -> None:
    """Writes the planned file: under a temporary name first, which llama.cpp must accept, and renamed at last.

    An error or Ctrl-C at any point leaves nothing behind, and an existing file as it was.

    Args:
        plan: What to write.
        destination: Its name; the folder must exist.
        force: Replace an existing file.
        progress: Gets the stage "writing", in bytes.

    Raises:
        UsageError: the destination exists and `force` is not set, is a folder, or has no folder.
        DiskSpaceError: the disk has no room.
        ModelFileError: the source was cut short meanwhile, or llama.cpp does not load the result.
    """
    check_destination(destination, force)
    total = plan.file_bytes
    check_free_space(destination, total)
    try:
        with written_whole(destination, make_folder=False) as unfinished:
            progress.stage("writing", total, unit="bytes")
            _write(plan, unfinished, progress)
            check_destination(destination, force)
    except OSError as error:
        if is_disk_full(error):
            raise _full_disk(destination, total, shutil.disk_usage(destination.parent).free) from None
        raise UsageError(
            f"{destination} cannot be written: {error.strerror}", "name another place"
        ) from error


def check_free_space(destination: Path, n_bytes: int) -> None:
    """Refuses a file for which the disk has no room.

    Raises:
        DiskSpaceError: says what is needed and what is there.
    """
    free = shutil.disk_usage(destination.parent).free
    if n_bytes > free:
        raise _full_disk(destination, n_bytes, free)


def check_destination(destination: Path, force: bool) -> None:
    """Refuses a place where no new file can be.

    Raises:
        UsageError: it exists and `force` is not set, is a folder, or has no folder.
    """
    if destination.is_dir():
        raise UsageError(f"{destination} is a folder", "name a file in it")
    if not destination.parent.is_dir():
        raise UsageError(f"there is no folder {destination.parent}", "make it first")
    if destination.exists() and not force:
        raise UsageError(f"{destination} exists", "name another file, or replace it with `force`")


def _write(plan: GgufPlan, path: Path, progress: Progress) -> None:
    """Fills and flushes the file, while llama.cpp loads it.

    llama.cpp reads the header and compares the tensors' places with the file's size: both stand before the weights do.
    """
    with path.open("xb", buffering=0) as file, Output(file, plan.source_files, progress) as out:
        for piece in plan.header():
            if isinstance(piece, bytes):
                out.write(piece)
            else:
                out.copy(0, piece.start, piece.end - piece.start)
        out.write(bytes(plan.padded(out.n_bytes) - out.n_bytes))
        file.truncate(plan.file_bytes)
        load_library()  # before the other thread starts: it is much Python, which would hold up the copying
        with ThreadPoolExecutor(1) as beside:
            filling = beside.submit(_fill, plan, file, out)
            try:
                _check_loads(path)
                filling.result()
            except BaseException:
                out.stop()
                raise


def _fill(plan: GgufPlan, file: FileIO, out: Output) -> None:
    for tensor in plan.tensors:
        start = out.n_bytes
        tensor.source.send(out)
        written = out.n_bytes - start
        if written != tensor.n_bytes:
            raise ValueError(f"{tensor.name} wrote {written} bytes where {tensor.n_bytes} were planned")
        out.write(bytes(plan.padded(written) - written))


def _check_loads(path: Path) -> None:
    from edgespec.llama.model import Model

    try:
        Model(path, weights=False).close()
    except ModelFileError as error:
        raise ModelFileError(error.message, "nothing was kept; check that the source itself loads") from None


def _full_disk(destination: Path, needed: int, free: int) -> DiskSpaceError:
    return DiskSpaceError(
        f"{destination.name} needs {needed / 2**20:.1f} MiB and the disk of {destination.parent} has "
        f"{free / 2**20:.1f} MiB free",
        "free some space, or name another place",
    )
