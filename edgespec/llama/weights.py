"""ggml's own conversions between weights in a GGUF's types and single precision.

Weights are `[n_rows, n_columns]` here: a row makes one output, and its columns are the inputs. GGUF names the same sizes
the other way round, `ne` = (n_columns, n_rows), and stores row after row, each in whole blocks of 32 or 256 columns.
"""

import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import EngineError, UsageError
from edgespec.llama.library import ggml_function, load_library
from edgespec.llama.tensor_types import TYPE_NUMBERS

_FLOAT_READERS = {"F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}


def row_bytes(type_name: str, columns: int) -> int:
    """Bytes of a row of `columns` weights: 5 blocks of 18 bytes, 90, for 160 columns of Q4_0.

    Raises:
        EngineError: a type that cannot be converted, or a row that is not a whole number of its blocks.
    """
    number = _number(type_name)
    block = ggml_function("ggml_blck_size", ctypes.c_int64, ctypes.c_int)(number)
    if columns % block:
        raise EngineError(f"{columns} columns are not a whole number of {type_name} blocks of {block}")
    size: int = ggml_function("ggml_row_size", ctypes.c_size_t, ctypes.c_int, ctypes.c_int64)(number, columns)
    return size


def dequantize(
    data: NDArray[np.uint8], type_name: str, shape_rows_columns: tuple[int, int], n_threads: int = 1
) -> NDArray[np.float32]:
    """The weights of a tensor, `[n_rows, n_columns]`.

    Args:
        data: The bytes as they are in the file, row after row, `[n_rows * row_bytes]` in whatever shape.
        type_name: Such as `Q4_K`.
        shape_rows_columns: Rows are outputs; columns are GGUF's first dimension.
        n_threads: That many parts of the rows are converted at a time.

    Raises:
        EngineError: a type that ggml cannot read, or bytes that are not the shape's.
    """
    rows, columns = shape_rows_columns
    size = row_bytes(type_name, columns)
    if data.dtype != np.uint8 or data.nbytes != rows * size:
        raise EngineError(
            f"{data.nbytes} bytes are not {rows} x {columns} weights of {type_name}: those take {rows * size}"
        )
    source = np.ascontiguousarray(data).reshape(-1)
    if type_name == "F32":
        return source.view(np.float32).reshape(rows, columns).copy()
    result = np.empty((rows, columns), np.float32)
    convert = _reader(type_name)

    def convert_rows(first: int, count: int) -> None:
        convert(source.ctypes.data + first * size, result[first:].ctypes.data, count * columns)

    _in_parts(convert_rows, rows, n_threads)
    return result


def quantize(
    rows: NDArray[np.float32],
    type_name: str,
    importance: NDArray[np.float32] | None = None,
    n_threads: int = 1,
) -> NDArray[np.uint8]:
    """Weights as a GGUF holds them, row after row (`ggml_quantize_chunk` in ggml.h).

    Args:
        rows: Finite weights, `[n_rows, n_columns]`.
        type_name: Such as `Q4_K`.
        importance: How much each column counts, `[n_columns]`: mean squares of the inputs. None: all the same.
        n_threads: That many parts of the rows are converted at a time; the bytes do not depend on it.

    Returns:
        Flat, `[n_rows * row_bytes]`.

    Raises:
        UsageError: a type that needs an importance, without one.
        EngineError: a type that ggml cannot write, rows of another length than its blocks, or weights that are
            not finite.
    """
    n_rows, columns = rows.shape
    size, number = row_bytes(type_name, columns), _number(type_name)
    # Each of these would end the whole process inside ggml, or read beyond its memory.
    if importance is None and ggml_function("ggml_quantize_requires_imatrix", ctypes.c_bool, ctypes.c_int)(
        number
    ):
        raise UsageError(f"{type_name} needs an importance matrix", "choose a larger type, or calibrate")
    if importance is not None and importance.shape != (columns,):
        raise EngineError(f"an importance of shape {importance.shape} is not one of {columns} columns")
    if not np.isfinite(rows).all():
        raise EngineError(f"weights that are not finite cannot be written as {type_name}")
    source = np.ascontiguousarray(rows, np.float32)
    weights = None if importance is None else np.ascontiguousarray(importance, np.float32)
    result = np.empty(n_rows * size, np.uint8)
    write = _writer()

    def convert_rows(first: int, count: int) -> None:
        given = None if weights is None else weights.ctypes.data
        address = result.ctypes.data + first * size
        write(number, source[first:].ctypes.data, address, 0, count, columns, given)

    _in_parts(convert_rows, n_rows, n_threads)
    return result


def _number(type_name: str) -> int:
    load_library()
    try:
        return TYPE_NUMBERS[type_name]
    except KeyError:
        raise EngineError(f"weights of type {type_name} cannot be converted") from None


def _reader(type_name: str) -> Callable[..., Any]:
    name = _FLOAT_READERS.get(type_name)
    if name is None:
        # The symbols end as ggml_type_name has it: `q4_K`, but `iq4_nl`.
        name = "dequantize_row_" + type_name.lower().replace("_k", "_K")
    return ggml_function(name, None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


def _writer() -> Callable[..., Any]:
    long, pointer = ctypes.c_int64, ctypes.c_void_p
    return ggml_function(
        "ggml_quantize_chunk", ctypes.c_size_t, ctypes.c_int, pointer, pointer, long, long, long, pointer
    )


def _parts(n_rows: int, n_parts: int) -> Iterator[tuple[int, int]]:
    """First row and number of rows of each part: (0, 4), (4, 4), (8, 2) of 10 rows in 3 parts."""
    step = max(1, -(-n_rows // n_parts))
    for first in range(0, n_rows, step):
        yield first, min(step, n_rows - first)


def _in_parts(convert_rows: Callable[[int, int], None], n_rows: int, n_threads: int) -> None:
    if n_threads == 1:
        convert_rows(0, n_rows)
        return
    # ctypes lets go of Python's lock while ggml works.
    with ThreadPoolExecutor(n_threads) as pool:
        for done in [pool.submit(convert_rows, *part) for part in _parts(n_rows, n_threads)]:
            done.result()
