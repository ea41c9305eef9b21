"""Models that are made of another one and kept: whoever wants one second waits for the first and uses that file."""

from collections.abc import Callable
from pathlib import Path

from edgespec.catalog.metadata import is_whole
from edgespec.catalog.sources.checks import only_writer
from edgespec.progress import SILENT, Progress


def find_or_make(file: Path, make: Callable[[], object], progress: Progress = SILENT) -> Path:
    """The file, made now where it is not here whole and no other process is making it.

    Args:
        file: A GGUF, of a name that says all that it is made of.
        make: Writes it under that name, whole or not at all; its folder is there.
        progress: Gets a stage while another process makes the file.

    Returns:
        `file`.

    Raises:
        OSError: its folder cannot be made or written to.
    """
    if not is_whole(file):
        with only_writer(file.with_name(f".{file.name}.lock"), f"making {file.name}", progress, keep=False):
            if not is_whole(file):
                make()
    return file
