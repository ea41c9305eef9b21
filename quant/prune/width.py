"""Blocks that lose whole KV groups and FFN neurons: rows leave byte for byte, of what loses columns the rest is requantized."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import UsageError
from quant.gguf.fields import FieldValue
from quant.gguf.plan import GgufPlan, PlannedTensor
from quant.gguf.tensor_sources import ComputedTensor
from quant.gguf.tensors import computed, find_tensor, planned_bytes, planned_weights, replace_tensors
from quant.prune.recast import recast_for_widths
from quant.prune.shape import ModelShape, read_shape

Matrix = NDArray[np.float32]
Indices = NDArray[np.int64]

_FFN_ROWS: Final = ("ffn_gate", "ffn_up")


@dataclass(frozen=True, slots=True, eq=False)
class BlockWidth:
    """What one block keeps, by numbers in the dense one, ascending."""

    kv_groups: Indices
    """`[n_kept]`: a group is a KV head with the query heads that read it; without any, the block has no attention."""
    neurons: Indices
    """`[n_kept]`."""


def cut_widths(
    plan: GgufPlan, widths: Sequence[BlockWidth], biases: Mapping[str, Matrix] | None = None
) -> GgufPlan:
    """The plan without the heads and neurons that no block keeps, recast where the widths that are left need it.

    Of a block with 2 KV groups of two query heads of 16 and 128 neurons, `BlockWidth([1], [0, 5])` keeps the query rows
    32 to 63, the key and value rows 16 to 31, the columns 32 to 63 of `attn_output`, the rows 0 and 5 of `ffn_gate` and
    `ffn_up`, and the columns 0 and 5 of `ffn_down`.

    Args:
        plan: Of a model whose blocks are alike.
        widths: What each block keeps.
        biases: Added to the outputs of a projection, `[n_embd]`, by name such as `blk.3.ffn_down`.

    Raises:
        UsageError: an architecture that cannot be cut, a block that keeps no neuron, or a first one without attention,
            where llama.cpp looks for the width of heads.
    """
    shape = read_shape(plan)
    if any(not len(block.neurons) for block in widths):
        raise UsageError("a block would keep no neuron", "remove less")
    if not len(widths[0].kv_groups):
        raise UsageError("the first block would keep no head", "remove less")
    groups, neurons = [len(one.kv_groups) for one in widths], [len(one.neurons) for one in widths]
    per_block = len(set(groups)) > 1 or len(set(neurons)) > 1
    if biases or per_block or groups[0] != shape.n_head_kv:
        plan = recast_for_widths(plan, shape, per_block=per_block)
    changed: dict[str, PlannedTensor | None] = {}
    for number, block in enumerate(widths):
        changed |= _smaller_tensors(plan, shape, f"blk.{number}", block)
    smaller = replace_tensors(plan, changed)
    return replace(
        smaller,
        tensors=_with_biases(smaller, biases or {}),
        edits={**smaller.edits, **_width_fields(smaller.architecture, shape, groups, neurons, per_block)},
    )


def spread_rows(units: Indices, width: int) -> Indices:
    """The rows of units that are `width` rows each: units `[0, 2]` of width 3 are rows `[0, 1, 2, 6, 7, 8]`."""
    return (units[:, None] * width + np.arange(width)).reshape(-1)


def _smaller_tensors(
    plan: GgufPlan, shape: ModelShape, prefix: str, block: BlockWidth
) -> dict[str, PlannedTensor | None]:
    """A block's tensors that lose rows or columns, by name; None for those that leave whole."""
    heads_per_group = shape.n_head // shape.n_head_kv
    key_rows = spread_rows(block.kv_groups, shape.head_dim)
    query_rows = spread_rows(block.kv_groups, shape.head_dim * heads_per_group)
    changed: dict[str, PlannedTensor | None] = {}
    rows = {
        "attn_q": query_rows,
        "attn_k": key_rows,
        "attn_v": key_rows,
        **dict.fromkeys(_FFN_ROWS, block.neurons),
    }
    for name, kept in rows.items():
        for kind in ("weight", "bias"):
            tensor = find_tensor(plan, f"{prefix}.{name}.{kind}")
            if tensor is not None and len(kept) != tensor.shape[-1]:
                changed[tensor.name] = _rows_of(plan, tensor, kept)
    for name, kept in (("attn_output", query_rows), ("ffn_down", block.neurons)):
        tensor = find_tensor(plan, f"{prefix}.{name}.weight")
        if tensor is not None and len(kept) != tensor.shape[0]:
            changed[tensor.name] = computed(
                tensor, (len(kept), tensor.shape[1]), partial(_columns_of, plan, tensor.name, kept)
            )
    if not len(block.kv_groups):
        gone = (tensor.name for tensor in plan.tensors if tensor.name.startswith(f"{prefix}.attn_"))
        changed |= dict.fromkeys(gone)
    return changed


def _rows_of(plan: GgufPlan, tensor: PlannedTensor, kept: Indices) -> PlannedTensor:
    def gather() -> NDArray[np.uint8]:
        matrix = planned_bytes(plan, tensor.name).reshape(tensor.shape[-1], -1)
        return np.ascontiguousarray(matrix[kept]).reshape(-1)

    return replace(tensor, shape=(*tensor.shape[:-1], len(kept)), source=ComputedTensor(gather))


def _columns_of(plan: GgufPlan, name: str, kept: Indices) -> Matrix:
    return np.ascontiguousarray(planned_weights(plan, name)[:, kept])


def _with_biases(plan: GgufPlan, biases: Mapping[str, Matrix]) -> tuple[PlannedTensor, ...]:
    """A projection that has a bias gets the sum of both; the others get theirs after their weight."""
    result: list[PlannedTensor] = []
    for tensor in plan.tensors:
        name, _, kind = tensor.name.rpartition(".")
        bias = biases.get(name)
        if bias is None:
            result.append(tensor)
        elif kind == "bias":
            result.append(computed(tensor, tensor.shape, partial(_sum_of, plan, tensor.name, bias)))
        else:
            result.append(tensor)
            if find_tensor(plan, f"{name}.bias") is None:
                vector = PlannedTensor(f"{name}.bias", bias.shape, "F32", tensor.source)
                result.append(computed(vector, bias.shape, partial(np.asarray, bias, np.float32)))
    return tuple(result)


def _sum_of(plan: GgufPlan, name: str, bias: Matrix) -> Matrix:
    total: Matrix = planned_weights(plan, name) + bias
    return total


def _width_fields(
    architecture: str, shape: ModelShape, groups: list[int], neurons: list[int], per_block: bool
) -> dict[str, FieldValue]:
    heads = [count * (shape.n_head // shape.n_head_kv) for count in groups]
    values = {
        "attention.head_count": heads,
        "attention.head_count_kv": groups,
        "feed_forward_length": neurons,
    }
    fields = {
        f"{architecture}.{key}": FieldValue("u32", tuple(v) if per_block else v[0])
        for key, v in values.items()
    }
    for key in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        fields[f"{architecture}.{key}"] = FieldValue("u32", shape.head_dim)
    return fields
