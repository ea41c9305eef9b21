"""Whether llama.cpp survives a file: a helper process loads it first.

Much that a header can say ends the process that believes it: llama.cpp checks the sizes of a model with assertions, some of
them only while it computes, and its tokenizers trust the vocabulary. The helper goes through the vocabulary and evaluates
a few tokens on the CPU, with weights that are mapped and not copied. Which files survived is kept in the cache, so that
a file is tried once.
"""

import atexit
import hashlib
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

from edgespec.errors import ModelFileError
from edgespec.helper_process import HelperLostError, HelperProcess
from edgespec.llama.library import load_library
from edgespec.paths import survived_dir

Use = Literal["load", "header", "quantize"]
"""What a file is wanted for: a model that computes, one without its weights, or the source of another file."""

LIMIT_S: Final = 60.0
"""Of the processor, for a small file. A vocabulary of 262,144 tokens takes about a second."""
LIMIT_BYTES_PER_S: Final = 50 << 20
"""Of the file, for which the helper gets a second more: three rows of a mixture of types took a tenth of it."""
LIMIT_BYTES: Final = 1 << 30
"""Resident memory of the helper beyond the file; such a vocabulary takes some 200 MiB."""
_COMMAND: Final = (sys.executable, "-P", "-m", "edgespec.llama.trial_process")
_PART: Final = re.compile(r"-\d{5}(-of-\d{5}\.gguf)$", re.ASCII)

_lock = threading.RLock()
_helper: HelperProcess | None = None
_keepers = 0
_survived: set[str] = set()


def check_survived(path: Path, use: Use = "load") -> None:
    """Refuses a file that ends llama.cpp, before this process gives it to it.

    A file that llama.cpp refuses in words passes: the caller gets these words.

    Args:
        path: The file; of a split model the first part.
        use: What it is wanted for.

    Raises:
        ModelFileError: it ends llama.cpp, or takes too long or too much memory.
    """
    try:
        identity = _identity(path, use)
    except OSError:
        return  # llama.cpp says what it cannot open
    if identity in _survived:
        return
    # Another part of a split model may change by itself.
    marker = None if _PART.search(path.name) else survived_dir() / identity
    if marker is None or not marker.exists():
        with _lock:
            _try(path, use)
    _survived.add(identity)
    if marker is not None:
        with suppress(OSError):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()


@contextmanager
def kept_helper() -> Iterator[None]:
    """While the block runs one helper tries all files; otherwise each gets a new one, which takes a third of a second to start."""
    global _keepers
    with _lock:
        _keepers += 1
    try:
        yield
    finally:
        with _lock:
            _keepers -= 1
            if not _keepers:
                _end_helper()


def _identity(path: Path, use: Use) -> str:
    """The file as it is now, under whatever name, and the llama.cpp that is installed."""
    stat, library = path.stat(), Path(load_library().__file__ or "").with_name("lib").stat()
    what = (
        use,
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        stat.st_mtime_ns,
        library.st_ino,
        library.st_mtime_ns,
    )
    return hashlib.sha256("|".join(map(str, what)).encode()).hexdigest()[:24]


def _size_bytes(path: Path) -> int:
    """Of all parts."""
    part = _PART.search(path.name)
    files = path.parent.glob(f"*{part[1]}") if part else (path,)
    return sum(
        file.stat().st_size
        for file in files
        if file.name.startswith(path.name[: part.start() if part else None])
    )


def _try(path: Path, use: Use) -> None:
    global _helper
    if _helper is None:
        _helper = HelperProcess(_COMMAND)
    request = {"path": str(path.absolute()), "use": use}
    size_bytes = _size_bytes(path)
    limit_s, limit_bytes = LIMIT_S + size_bytes / LIMIT_BYTES_PER_S, LIMIT_BYTES + size_bytes
    is_well = False
    try:
        ended = _helper.ask(request, limit_s=limit_s, limit_bytes=limit_bytes).get("ended")
        is_well = ended is None
    except HelperLostError as lost:
        ended = str(lost)
    finally:
        if not (is_well and _keepers):
            _end_helper()
    if ended is not None:
        raise ModelFileError(
            f"llama.cpp does not survive {path.name}: {ended}",
            "the file is damaged, or of a kind that this llama.cpp does not know: download it again, or take another one",
        )


def _end_helper() -> None:
    global _helper
    helper, _helper = _helper, None
    if helper is not None:
        helper.close()


atexit.register(_end_helper)
