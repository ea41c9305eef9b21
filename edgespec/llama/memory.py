"""Memory that was freed, given back to the system."""

import ctypes
import sys


def release_freed_memory() -> None:
    """Gives back what the C library keeps of freed buffers, so that resident memory shows what is in use.

    glibc only; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
