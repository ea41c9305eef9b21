"""The same model under an architecture whose loader accepts the widths that are left.

`qwen2` fixes the widths of its heads and knows no projection biases; `llama` takes any number of heads, the same in
every block, and `deci` numbers of its own for every block (src/models/llama.cpp, deci.cpp, qwen2.cpp). Only rotary
positions differ: qwen2 turns the halves of a head, the others neighbours, so that rows of queries and keys are
reordered, which no quantized type is hurt by.
"""

from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quant.gguf.fields import FieldValue
from quant.gguf.plan import GgufPlan, PlannedTensor
from quant.gguf.tensor_sources import ComputedTensor
from quant.gguf.tensors import planned_bytes
from quant.prune.shape import ModelShape

_TURNED: Final = ("attn_q", "attn_k")


def recast_for_widths(plan: GgufPlan, shape: ModelShape, *, per_block: bool) -> GgufPlan:
    """The same model as `deci` where blocks differ in width, else as `llama`.

    Args:
        plan: Of an architecture in WIDTH_ARCHITECTURES.
        shape: Of it.
        per_block: Whether heads or neurons differ by block.
    """
    old = plan.architecture
    new = "deci" if per_block else "llama"
    if old == new:
        return plan
    head_dim, tensors = shape.head_dim, plan.tensors
    if old == "qwen2":
        tensors = tuple(_reordered(plan, tensor, head_dim) for tensor in tensors)
    keys = [key for key in plan.field_names() if key.startswith(f"{old}.")]
    sizes = FieldValue("u32", head_dim)
    explicit = ("attention.key_length", "attention.value_length", "rope.dimension_count")
    return replace(
        plan,
        tensors=tensors,
        renames={**plan.renames, **{key: key.replace(old, new, 1) for key in keys}},
        edits={
            **{key.replace(f"{old}.", f"{new}.", 1): value for key, value in plan.edits.items()},
            "general.architecture": FieldValue("str", new),
            **{f"{new}.{key}": sizes for key in explicit},
        },
    )


def _reordered(plan: GgufPlan, tensor: PlannedTensor, head_dim: int) -> PlannedTensor:
    if not any(f".{name}." in tensor.name for name in _TURNED):
        return tensor
    return replace(tensor, source=ComputedTensor(partial(_neighbours, plan, tensor, head_dim)))


def _neighbours(plan: GgufPlan, tensor: PlannedTensor, head_dim: int) -> NDArray[np.uint8]:
    """The bytes of a tensor whose rows i and i + head_dim / 2 of every head become neighbours.

    Of a head of 4 the rows 0 1 2 3 come in the order 0 2 1 3. Rows of a bias are single numbers.
    """
    n_rows = tensor.shape[1] if len(tensor.shape) > 1 else tensor.shape[0]
    rows = planned_bytes(plan, tensor.name).reshape(n_rows // head_dim, 2, head_dim // 2, -1)
    return np.ascontiguousarray(rows.transpose(0, 2, 1, 3)).reshape(-1)
