"""The scratch folder of a run, and what is left of runs that were killed."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgespec.paths import derived_models_dir
from quant.convert.quantize import scratch_prefix


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for copies and refitted tensors, removed at the end; those of processes that are gone go with it."""
    _remove_abandoned()
    derived_models_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_prefix(os.getpid()), dir=derived_models_dir()) as folder:
        yield Path(folder)


def remove_leftovers(destination: Path, pid: int) -> None:
    """Deletes what a process that was killed while it pruned or quantized left unfinished.

    Args:
        destination: The file that it was to write.
        pid: Its number.
    """
    destination.with_name(f"{destination.name}.{pid}.part").unlink(missing_ok=True)
    hidden = f"{glob.escape(scratch_prefix(destination, pid))}*"
    for folder in (*derived_models_dir().glob(f"{_prefix(pid)}*"), *destination.parent.glob(hidden)):
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(pid: int | str) -> str:
    return f"prune-{pid}-"


def _remove_abandoned() -> None:
    """Deletes the scratch folders of processes that are gone: one that was killed leaves gigabytes behind."""
    folders = list(derived_models_dir().glob(f"{_prefix('*')}*"))
    if not folders:
        return
    import psutil  # a megabyte and more, for a rare case

    for folder in folders:
        pid = folder.name.split("-")[1]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
