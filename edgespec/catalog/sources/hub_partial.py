"""One file of the hub on its way to the cache, so that any break can be gone on from: a lost line, Ctrl-C, a crash.

huggingface_hub resumes within one call only: what arrived goes when the process does. So the bytes are fetched here,
into a file of our own beside their final place, over the library's session with its login, proxy and certificates.
The final name is taken when the file is whole and checked.
"""

import time
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Final

from edgespec.progress import Progress

_CHUNK_BYTES: Final = 1 << 20
_RETRIES: Final = 5
"""Attempts in a row that may bring nothing: bounds the wait for a line that is gone."""
_RETRY_S: Final = 1.0
"""Between two attempts."""
_RANGE_NOT_SATISFIABLE: Final = 416
_ENDING: Final = ".edgespec.incomplete"


class _StartOverError(Exception):
    """What had arrived is of no use."""


def partial_of(blob: Path, file: str) -> Path:
    """Where the bytes of `file`, which will be `blob`, are collected."""
    return blob.with_name(f"{blob.name}.{file.rsplit('/', 1)[-1]}{_ENDING}")


def find_partials(blobs: Path, file: str) -> list[Path]:
    """What has arrived of a file, of whatever version."""
    return sorted(blobs.glob(f"*.{escape(file.rsplit('/', 1)[-1])}{_ENDING}"))


def fetch_partial(
    partial: Path,
    url: str,
    headers: Mapping[str, str],
    size_bytes: int | None,
    progress: Progress,
) -> None:
    """Goes on with a file until it is whole; what arrived is kept whatever happens.

    Args:
        partial: The file that is collected in.
        url: Where its bytes are.
        headers: Sent along, such as the login.
        size_bytes: How long it will be, where that is known.
        progress: Advanced by the bytes that come, and back where they have to come again.

    Raises:
        OSError: The hub refused, or the disk did, or what came is not `size_bytes` long (then it is removed).
        Exception: The transport's own, when `_RETRIES` attempts in a row brought nothing.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    retries = _RETRIES
    before = _size(partial)
    while True:
        try:
            _go_on(partial, url, headers, size_bytes, progress)
            break
        except OSError:
            raise
        except Exception:  # the transport's own classes change with the library's version
            arrived = _size(partial)
            retries = _RETRIES if arrived > before else retries - 1
            before = arrived
            if retries < 0:
                raise
            time.sleep(_RETRY_S)
    if size_bytes is not None and _size(partial) != size_bytes:
        arrived = _size(partial)
        partial.unlink()
        raise OSError(f"{arrived} bytes came instead of {size_bytes}")


def _go_on(
    partial: Path,
    url: str,
    headers: Mapping[str, str],
    size_bytes: int | None,
    progress: Progress,
) -> None:
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    start = _size(partial)
    if size_bytes is not None and start >= size_bytes:
        return
    wanted = {**headers, "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with (
        get_session().stream("GET", url, headers=wanted, timeout=timeout, follow_redirects=True) as response,
        partial.open("ab") as file,
    ):
        if start and response.status_code == _RANGE_NOT_SATISFIABLE:
            file.truncate(0)
            progress.advance(-start)
            raise _StartOverError
        hf_raise_for_status(response)
        if start and response.status_code != 206:  # the whole file comes, from its beginning
            file.truncate(0)
            progress.advance(-start)
        for chunk in response.iter_bytes(_CHUNK_BYTES):
            file.write(chunk)
            progress.advance(len(chunk))
            if size_bytes is not None and file.tell() > size_bytes:
                return  # more than was promised, without end perhaps


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
