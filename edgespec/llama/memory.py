"""Memory that was freed, given back to the system."""

import ctypes
import sys
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""`M_MMAP_THRESHOLD` of glibc's malloc.h."""
_LARGE_BYTES: Final = 128 << 10
"""With what glibc begins."""


def release_freed_memory() -> None:
    """Gives back what the C library keeps of freed buffers, so that resident memory shows what is in use.

    glibc only; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def release_large_buffers_at_once() -> None:
    """From now on every large buffer goes back to the system when it is freed, and has to be fetched anew: not where speed hangs on them.

    glibc itself takes the largest buffer that was freed, up to 32 MiB, for the size of things, keeps what is smaller for the next time,
    and twice as much of what lies free at the end (mallopt(3), M_MMAP_THRESHOLD): one large request is never quite forgotten, and
    small ones that come to lie behind it keep it in place. A size that is set stays. glibc only; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
