"""What a cache holds of one sequence, in llama.cpp's own form, out of one context and into another or the same."""

from ctypes import POINTER, c_uint8
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import EngineError
from edgespec.llama.library import take_native_errors

Bytes = NDArray[np.uint8]

_PARTIAL_ONLY = 1
"""`LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY` of llama.h."""


def read_sequence(lib: Any, handle: Any, sequence: int, *, is_partial: bool = False) -> Bytes:
    """A copy of what the cache holds of a sequence.

    Args:
        lib: llama_cpp's declarations.
        handle: Of the context.
        sequence: Its number, 0 to `n_sequences` - 1.
        is_partial: Only what removing cells does not bring back: recurrent states, and what windows see.

    Returns:
        Flat bytes, `[n_bytes]`, in llama.cpp's own form (`llama_state_seq_get_data_ext` in llama.h): cells with their
        positions, then keys and values.

    Raises:
        EngineError: llama.cpp copied only a part.
    """
    flags = _PARTIAL_ONLY if is_partial else 0
    size = lib.llama_state_seq_get_size_ext(handle, sequence, flags)
    data = np.empty(size, np.uint8)
    written = lib.llama_state_seq_get_data_ext(handle, _as_bytes(data), size, sequence, flags)
    if written != size:
        raise EngineError(
            f"llama.cpp copied {written} of {size} bytes of a cache", "please report this defect"
        )
    return data


def write_sequence(lib: Any, handle: Any, sequence: int, data: Bytes, *, is_partial: bool = False) -> None:
    """Puts a copy into the cache as the whole of a sequence, or of its part that removing cells does not bring back.

    Args:
        lib: llama_cpp's declarations.
        handle: Of a context of the same model with the same types of cache.
        sequence: Its number there, which may be another than where the copy was made.
        data: Of `read_sequence`.
        is_partial: As it was read.

    Raises:
        EngineError: llama.cpp cannot take it, as from another model or for want of room.
    """
    flags = _PARTIAL_ONLY if is_partial else 0
    if not lib.llama_state_seq_set_data_ext(handle, _as_bytes(data), data.size, sequence, flags):
        raise EngineError(f"llama.cpp cannot restore a cache: {take_native_errors() or 'no reason given'}")


def _as_bytes(data: Bytes) -> Any:
    return data.ctypes.data_as(POINTER(c_uint8))
