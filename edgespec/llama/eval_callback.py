"""The eval callback: Python sees the numbers of a running graph, and may change what later nodes read.

llama.cpp asks about every node of a graph (`cb_eval` in llama.h) and, for those that are wanted, computes up to that
node, waits for it and calls again (ggml-backend.cpp, `ggml_backend_sched_compute_splits`).
"""

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import EngineError
from edgespec.llama.library import ggml_function, load_library

_F32: Final = 0
"""`GGML_TYPE_F32`."""
_NAME_BYTES: Final = 64
"""`GGML_MAX_NAME`."""
_MAX_DIMENSIONS: Final = 4
"""`GGML_MAX_DIMS`."""


class _Tensor(ctypes.Structure):
    """`struct ggml_tensor` of ggml.h; `_check_layout` compares it with the library."""


_Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * _MAX_DIMENSIONS),
    ("nb", ctypes.c_size_t * _MAX_DIMENSIONS),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(_Tensor) * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * _NAME_BYTES),
    ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8),
]


class Node:
    """A computed node; its arrays are the graph's own memory and valid inside the handler only.

    ggml lists sizes from the contiguous one on, `ne` = (columns, rows, ...), and numpy the other way round. With 5 tokens
    in a batch, `l_out-3` of a model of width 2048 has `ne` = (2048, 5, 1, 1) and is `[5, 2048]` here; `kqv_out-3` of 32
    heads is `[5, 2048]`, head after head; a node of three dimensions such as `Qcur-3`, `ne` = (64, 32, 5, 1), is
    `[5 * 32, 64]`, all heads of a token side by side.
    """

    def __init__(self, tensor: _Tensor) -> None:
        self._tensor = tensor

    @property
    def name(self) -> str:
        """Such as `l_out-3`."""
        return _name(self._tensor)

    @property
    def output(self) -> NDArray[np.float32]:
        """What it computed, `[n_tokens, n_columns]`; what is written here, later nodes read.

        Raises:
            EngineError: it is not in single precision, contiguous and in the main memory.
        """
        return _rows(self._tensor)

    @property
    def input(self) -> NDArray[np.float32]:
        """What a matrix multiplication reads besides its weight, `[n_tokens, n_columns]`.

        The columns are the weight's: 8960 for `blk.3.ffn_down.weight` of `ne` = (8960, 1536).

        Raises:
            EngineError: it is not in single precision, contiguous and in the main memory.
        """
        return _rows(self._tensor.src[1].contents)


Handler = Callable[[Node], None]


class EvalCallback:
    """Handlers for the nodes of every graph that a context runs; one such object serves one context.

    Args:
        nodes: By the node's name, such as `l_out-3`.
        weights: By the name of the weight whose multiplication is watched, such as `blk.3.ffn_down.weight`.

    Raises:
        EngineError: this build of llama.cpp lays its tensors out another way.
    """

    def __init__(
        self, *, nodes: Mapping[str, Handler] | None = None, weights: Mapping[str, Handler] | None = None
    ) -> None:
        _check_layout()
        self._nodes = {name.encode(): handler for name, handler in (nodes or {}).items()}
        self._weights = {name.encode(): handler for name, handler in (weights or {}).items()}
        self._multiplication = _operation("MUL_MAT")
        self._error: BaseException | None = None
        self.native: Any = load_library().ggml_backend_sched_eval_callback(self._call)
        """What llama.cpp calls, for `llama_context_params.cb_eval`."""

    @property
    def failed(self) -> bool:
        """Whether a handler raised; llama.cpp then stopped in mid-graph and calls that a success."""
        return self._error is not None

    def raise_error(self) -> None:
        """Raises what a handler raised since the last call, once; nothing where none did."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _call(self, address: int, is_question: bool, _user_data: Any) -> bool:
        """Answers whether a node is wanted, and later takes it; False the second time ends the graph."""
        tensor = ctypes.cast(address, ctypes.POINTER(_Tensor)).contents
        try:
            handler = self._handler(tensor)
            if is_question or handler is None:
                return handler is not None or not is_question
            handler(Node(tensor))
        # An exception cannot pass through C: it waits for `raise_error`, and False ends the graph.
        except BaseException as error:
            self._error = error
            return False
        return True

    def _handler(self, tensor: _Tensor) -> Handler | None:
        handler = self._nodes.get(tensor.name)
        if handler is None and self._weights and tensor.op == self._multiplication:
            return self._weights.get(tensor.src[0].contents.name)
        return handler


def _name(tensor: _Tensor) -> str:
    name: bytes = tensor.name
    return name.decode("utf-8", "replace")


def _rows(tensor: _Tensor) -> NDArray[np.float32]:
    """The tensor's own memory as `[ne[1] * ne[2] * ne[3], ne[0]]`."""
    n_columns, *others = tensor.ne
    n_rows = int(np.prod(others))
    sizes = [4, *(4 * np.cumprod(tensor.ne[:-1]))]
    on_host = ggml_function("ggml_backend_buffer_is_host", ctypes.c_bool, ctypes.c_void_p)
    if tensor.type != _F32 or list(tensor.nb) != sizes or not tensor.data:
        raise EngineError(f"the node {_name(tensor)} is not in plain single precision")
    if tensor.buffer and not on_host(tensor.buffer):
        raise EngineError(f"the node {_name(tensor)} is not in the main memory", "run the model on the CPU")
    pointer = ctypes.cast(tensor.data, ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(pointer, shape=(n_rows, n_columns))


@cache
def _operation(name: str) -> int:
    """The `ggml_op` number of an operation."""
    name_of = ggml_function("ggml_op_name", ctypes.c_char_p, ctypes.c_int)
    for number in range(256):
        if name_of(number) == name.encode():
            return number
    raise EngineError(f"this build of llama.cpp lacks the operation {name}")


class _InitParams(ctypes.Structure):
    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


@cache
def _check_layout() -> None:
    """Makes a tensor with the library and reads it through `_Tensor`."""
    load_library()
    pointer = ctypes.c_void_p
    init = ggml_function("ggml_init", pointer, _InitParams)
    new = ggml_function("ggml_new_tensor_2d", pointer, pointer, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    set_name = ggml_function("ggml_set_name", pointer, pointer, ctypes.c_char_p)
    free = ggml_function("ggml_free", None, pointer)
    context = init(_InitParams(1 << 16, None, False))
    try:
        address = new(context, _F32, 3, 5)
        set_name(address, b"edgespec")
        tensor = ctypes.cast(address, ctypes.POINTER(_Tensor)).contents
        known = (list(tensor.ne), list(tensor.nb), tensor.type, tensor.name)
        if known != ([3, 5, 1, 1], [4, 12, 60, 60], _F32, b"edgespec") or not tensor.data:
            raise EngineError(
                "this build of llama.cpp lays its tensors out in a way that is not known here",
                "run `make install`, or reinstall edgespec with its dependencies",
            )
    finally:
        free(context)
