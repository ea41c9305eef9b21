"""Files that are there whole or not at all."""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REPLACE_TRIES = 10
_REPLACE_PAUSE_S = 0.05
"""Both bound the wait for a file that another program has open: half a second."""


@contextmanager
def written_whole(path: Path, *, make_folder: bool = True) -> Iterator[Path]:
    """A name beside `path` to write under; when the block ends well, the file takes its final name.

    Readers see the old file or the new one, and nothing else stays of a block that failed.

    Args:
        path: The final name.
        make_folder: Make its folder where there is none.

    Raises:
        OSError: the folder cannot be made, or the name cannot be taken.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        _replace(unfinished, path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


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
