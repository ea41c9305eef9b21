"""The weights of a plan as numbers, and tensors that are computed from numbers when they are written.

A plan's tensor may come from the source file or from an earlier step; both are read the same way, one at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgespec.catalog.gguf_types import BLOCKS, NARROW_TYPES
from edgespec.llama.library import default_threads
from edgespec.llama.weights import dequantize, quantize
from quant.gguf.plan import GgufPlan, PlannedTensor
from quant.gguf.tensor_sources import ComputedTensor, CopiedBytes

Weights = NDArray[np.float32]
"""A matrix `[n_rows, n_columns]`, whose rows are outputs, or a vector `[n]`."""


def find_tensor(plan: GgufPlan, name: str) -> PlannedTensor | None:
    """The planned tensor called `name`."""
    return next((tensor for tensor in plan.tensors if tensor.name == name), None)


def output_name(plan: GgufPlan) -> str:
    """The matrix that makes the logits: its own, or the embedding's."""
    return "output.weight" if find_tensor(plan, "output.weight") else "token_embd.weight"


def replace_tensors(plan: GgufPlan, changed: Mapping[str, PlannedTensor | None]) -> GgufPlan:
    """The plan with the named tensors exchanged in their places, or left out where None stands."""
    tensors = (changed.get(tensor.name, tensor) for tensor in plan.tensors)
    return replace(plan, tensors=tuple(tensor for tensor in tensors if tensor is not None))


def planned_bytes(plan: GgufPlan, name: str) -> NDArray[np.uint8]:
    """The bytes that the plan writes for a tensor, `[n_bytes]`; mapped from the source where it is only copied.

    Raises:
        KeyError: the plan has no such tensor.
        OSError: the source cannot be read.
        TypeError: the tensor's source is neither copied nor computed.
    """
    tensor = find_tensor(plan, name)
    if tensor is None:
        raise KeyError(name)
    match tensor.source:
        case CopiedBytes(part, offset, n_bytes):
            return np.memmap(plan.source_files[part], np.uint8, "r", offset=offset, shape=(n_bytes,))
        case ComputedTensor(compute):
            return compute().reshape(-1).view(np.uint8)
        case other:
            raise TypeError(f"no way to read {type(other).__name__}")


def planned_weights(plan: GgufPlan, name: str) -> Weights:
    """A tensor of the plan in single precision, `[n_rows, n_columns]`, or `[n]` for a vector.

    Raises:
        KeyError: the plan has no such tensor.
        EngineError: ggml cannot read its type.
        OSError: the source cannot be read.
    """
    tensor = find_tensor(plan, name)
    if tensor is None:
        raise KeyError(name)
    columns = tensor.shape[0]
    rows = tensor.n_elements // columns
    values = dequantize(planned_bytes(plan, name), tensor.ggml_type, (rows, columns), default_threads())
    return values if len(tensor.shape) > 1 else values.reshape(-1)


def computed(
    tensor: PlannedTensor,
    shape: Sequence[int],
    compute: Callable[[], Weights],
    *,
    ggml_type: str | None = None,
) -> PlannedTensor:
    """The tensor with other weights, quantized when its turn to be written comes.

    Args:
        tensor: Whose name and type it keeps.
        shape: In GGUF order: columns first.
        compute: Gives the weights, `[n_rows, n_columns]` or `[n]`; called again for every reading.
        ggml_type: Another type; where its blocks do not divide the columns, llama.cpp's fallback for it is taken.
    """
    chosen = writable_type(ggml_type or tensor.ggml_type, shape[0])

    def encoded() -> NDArray[np.uint8]:
        weights = compute()
        rows = np.ascontiguousarray(weights, np.float32).reshape(-1, shape[0])
        return quantize(rows, chosen, n_threads=default_threads())

    return replace(tensor, shape=tuple(shape), ggml_type=chosen, source=ComputedTensor(encoded))


def column_multiple(ggml_type: str) -> int:
    """Weights in one block of a type: the columns of its matrices are a multiple of that."""
    return BLOCKS[ggml_type][0]


def writable_type(ggml_type: str, n_columns: int) -> str:
    """The type itself where `n_columns` are whole blocks of it, else what llama.cpp falls back to."""
    for candidate in (ggml_type, NARROW_TYPES.get(ggml_type, "F16")):
        if n_columns % column_multiple(candidate) == 0:
            return candidate
    return "F16"
