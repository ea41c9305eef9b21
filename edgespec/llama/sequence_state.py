"""What a cache holds of one sequence, in llama.cpp's own form, out of one context and into another or the same."""

from ctypes import POINTER, c_uint8
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import EngineError
from edgespec.llama.library import take_native_errors

Bytes = NDArray[np.uint8]


def read_sequence(lib: Any, handle: Any, sequence: int) -> Bytes:
    """A copy of what the cache holds of a sequence.

    Args:
        lib: llama_cpp's declarations.
        handle: Of the context.
        sequence: Its number, 0 to `n_sequences` - 1.

    Returns:
        Flat bytes, `[n_bytes]`, in llama.cpp's own form (`llama_state_seq_get_data` in llama.h): cells with their
        positions, then keys and values.

    Raises:
        EngineError: llama.cpp copied only a part.
    """
    size = lib.llama_state_seq_get_size(handle, sequence)
    data = np.empty(size, np.uint8)
    written = lib.llama_state_seq_get_data(handle, _as_bytes(data), size, sequence)
    if written != size:
        raise EngineError(
            f"llama.cpp copied {written} of {size} bytes of a cache", "please report this defect"
        )
    return data


def write_sequence(lib: Any, handle: Any, sequence: int, data: Bytes) -> None:
    """Puts a copy into the cache as the whole of a sequence.

    Args:
        lib: llama_cpp's declarations.
        handle: Of a context of the same model with the same types of cache.
        sequence: Its number there, which may be another than where the copy was made.
        data: Of `read_sequence`.

    Raises:
        EngineError: llama.cpp cannot take it, as from another model or for want of room.
    """
    if not lib.llama_state_seq_set_data(handle, _as_bytes(data), data.size, sequence):
        raise EngineError(f"llama.cpp cannot restore a cache: {take_native_errors() or 'no reason given'}")


def _as_bytes(data: Bytes) -> Any:
    return data.ctypes.data_as(POINTER(c_uint8))
