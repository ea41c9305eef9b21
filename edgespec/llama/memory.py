"""Memory that was freed, given back to the system."""

import ctypes
import sys
from typing import Final

_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""Both of glibc's malloc.h."""
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


def keep_little_freed_memory() -> None:
    """From now on what is freed goes back to the system, or to whoever asks next in any thread: not for a process that computes.

    Every large buffer has to be fetched anew from then on. glibc itself takes the largest buffer that was freed, up to 32 MiB, for the
    size of things, keeps what is smaller for the next time, and twice as much of what lies free at the end; and threads that come
    while others are at work get heaps of their own (mallopt(3), M_MMAP_THRESHOLD and M_ARENA_MAX). So one large request is never
    quite forgotten, and every thread keeps what it needed once. glibc only; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
            mallopt(_ARENA_MAX, 1)
