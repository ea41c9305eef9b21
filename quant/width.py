"""Cutting widths: whole groups of attention heads and FFN neurons leave a block, its other tensors follow.

Rows that stay (`attn_q/k/v`, `ffn_gate/up`) are copied byte for byte. Columns that stay (`attn_output`, `ffn_down`)
cross the quantized blocks, so that these two are read, sliced and quantized again, one at a time while the file is
written. What the file then is: quant/carrier.py.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import UsageError
from quant.carrier import (
    PER_BLOCK_FIELDS,
    block_array,
    check_width_architecture,
    read_head_dim,
    required_sizes,
    to_carrier,
)
from quant.container import ComputedTensor, FieldValue, GgufPlan, PlannedTensor
from quant.rows import chosen_rows
from quant.tensors import column_multiple, computed, find_tensor, planned_weights, replace_tensors

Matrix = NDArray[np.float32]
Indices = NDArray[np.int64]

_BLOCK_TENSOR: Final = re.compile(r"blk\.(?P<block>\d+)\.(?P<rest>.+)", re.ASCII)
_ATTENTION: Final = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output")
_FFN: Final = ("ffn_norm", "ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a model whose blocks are all alike."""

    n_blocks: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ff: int

    @property
    def group_heads(self) -> int:
        """Query heads that share a KV head."""
        return self.n_head // self.n_head_kv

    @property
    def group_columns(self) -> int:
        """Columns of `attn_output` that one KV group feeds."""
        return self.group_heads * self.head_dim

    @property
    def group_parameters(self) -> int:
        """Weights of one KV group: rows of q, k and v, columns of the output."""
        return (2 * self.group_heads + 2) * self.head_dim * self.n_embd

    @property
    def neuron_parameters(self) -> int:
        """Weights of one FFN neuron: rows of gate and up, a column of down."""
        return 3 * self.n_embd

    @property
    def block_parameters(self) -> int:
        """Weights in the matrices of one block."""
        return self.n_head_kv * self.group_parameters + self.n_ff * self.neuron_parameters


@dataclass(frozen=True, slots=True, eq=False)
class BlockWidth:
    """What a block keeps, ascending numbers."""

    kv_groups: Indices
    neurons: Indices


WidthCut = tuple[BlockWidth, ...]
"""One for each block."""


@dataclass(frozen=True, slots=True, eq=False)
class Compensation:
    """What makes good a part of the loss behind one cut matrix."""

    weight: Matrix | None
    """In the place of the kept columns, (rows, kept columns)."""
    bias: Matrix | None
    """Added to the output, (rows,)."""


def read_shape(plan: GgufPlan) -> ModelShape:
    """The sizes of a plan's model.

    Raises:
        UsageError: an architecture without a carrier, or blocks of different widths.
        ModelFileError: the file lacks a size.
    """
    check_width_architecture(plan)
    heads, kv_heads, neurons = (_uniform_size(plan, suffix) for suffix in PER_BLOCK_FIELDS)
    return ModelShape(
        n_blocks=required_sizes(plan, "block_count")[0],
        n_embd=required_sizes(plan, "embedding_length")[0],
        n_head=heads,
        n_head_kv=kv_heads,
        head_dim=read_head_dim(plan),
        n_ff=neurons,
    )


def neuron_multiple(plan: GgufPlan) -> int:
    """The step in numbers of neurons that lets every `ffn_down` keep its type."""
    types = {tensor.ggml_type for tensor in plan.tensors if tensor.name.endswith(".ffn_down.weight")}
    return max((column_multiple(name) for name in types), default=1)


def whole_width(shape: ModelShape) -> BlockWidth:
    """A block that keeps everything."""
    return BlockWidth(np.arange(shape.n_head_kv), np.arange(shape.n_ff))


def parameters_removed(shape: ModelShape, cut: WidthCut) -> int:
    """Weights that the cut takes from the blocks' matrices."""
    groups = sum(shape.n_head_kv - len(block.kv_groups) for block in cut)
    neurons = sum(shape.n_ff - len(block.neurons) for block in cut)
    return groups * shape.group_parameters + neurons * shape.neuron_parameters


def attention_columns(shape: ModelShape, groups: Indices) -> Indices:
    """The columns of `attn_output`, and rows of `attn_q`, that belong to KV groups."""
    return _spread(groups, shape.group_columns)


def cut_widths(
    plan: GgufPlan, cut: WidthCut, *, compensation: Mapping[str, Compensation] | None = None
) -> GgufPlan:
    """The plan with only the kept groups and neurons, in the architecture that can carry it.

    Args:
        plan: Of any step before, with blocks that are all alike.
        cut: For each of its present blocks. A block may lose its whole attention, the first may not.
        compensation: By the weight's name, such as `blk.3.ffn_down.weight`.

    Raises:
        UsageError: an architecture without a carrier, or a cut that leaves a block without neurons.
        ModelFileError: the file lacks a size.
    """
    compensation = compensation or {}
    shape = read_shape(plan)
    _check_cut(shape, cut)
    _check_tensors(plan)
    biases = dict(_collected_biases(cut, compensation))
    carried = _carrier_of(plan, shape, cut, biases)
    tensors: list[PlannedTensor] = []
    for tensor in carried.tensors:
        follower = _cut_tensor(carried, shape, cut, tensor, compensation)
        if follower is not None:
            tensors.append(follower)
        bias_name = tensor.name.removesuffix("weight") + "bias"
        if bias_name in biases and find_tensor(carried, bias_name) is None:
            tensors.append(_bias_tensor(bias_name, biases[bias_name]))
    result = replace(carried, tensors=tuple(tensors))
    changed = {
        name: _raised(result, name, bias) for name, bias in biases.items() if find_tensor(carried, name)
    }
    return _with_sizes(replace_tensors(result, changed), shape, cut)


def _uniform_size(plan: GgufPlan, suffix: str) -> int:
    sizes = set(required_sizes(plan, suffix))
    if len(sizes) > 1:
        raise UsageError(
            f"{plan.source.path.name} has blocks of different widths ({suffix} from {min(sizes)} to {max(sizes)})",
            "cut the widths of the model that it was made from, once",
        )
    return sizes.pop()


def _check_cut(shape: ModelShape, cut: WidthCut) -> None:
    if len(cut) != shape.n_blocks:
        raise ValueError(f"a cut for {len(cut)} blocks is none for {shape.n_blocks}")
    for number, block in enumerate(cut):
        if not len(block.neurons):
            raise UsageError(f"block {number} would keep no neuron", "remove less, or the whole block")
    if not len(cut[0].kv_groups):
        raise UsageError(
            "block 0 would keep no head: llama.cpp reads the rotary positions' width from it", "remove less"
        )


def _check_tensors(plan: GgufPlan) -> None:
    known = {f"{part}.{kind}" for part in (*_ATTENTION, *_FFN) for kind in ("weight", "bias")}
    for tensor in plan.tensors:
        match = _BLOCK_TENSOR.fullmatch(tensor.name)
        if match is not None and match["rest"] not in known:
            raise UsageError(
                f"it is not known how {tensor.name} follows a cut", "remove whole blocks instead"
            )


def _carrier_of(plan: GgufPlan, shape: ModelShape, cut: WidthCut, biases: Mapping[str, Matrix]) -> GgufPlan:
    """qwen2 itself, the smaller change, where its loader accepts the result; else a carrier."""
    per_block = not _is_uniform(cut)
    whole_attention = all(len(block.kv_groups) == shape.n_head_kv for block in cut)
    if plan.architecture == "qwen2" and whole_attention and not per_block and not biases:
        return plan
    return to_carrier(plan, per_block=per_block)


def _is_uniform(cut: WidthCut) -> bool:
    return len({(len(block.kv_groups), len(block.neurons)) for block in cut}) == 1


def _collected_biases(
    cut: WidthCut, compensation: Mapping[str, Compensation]
) -> Iterator[tuple[str, Matrix]]:
    """Sums by the names of the tensors that hold them."""
    sums: dict[str, Matrix] = {}
    for name, given in compensation.items():
        match = _BLOCK_TENSOR.fullmatch(name)
        if match is None or given.bias is None:
            continue
        block = int(match["block"])
        target = name.removesuffix("weight") + "bias"
        if match["rest"] == "attn_output.weight" and not len(cut[block].kv_groups):
            # No attention is computed here: the end of the block before is the same place in the stream.
            target = f"blk.{block - 1}.ffn_down.bias"
        sums[target] = sums[target] + given.bias if target in sums else given.bias
    yield from sums.items()


def _cut_tensor(
    plan: GgufPlan,
    shape: ModelShape,
    cut: WidthCut,
    tensor: PlannedTensor,
    compensation: Mapping[str, Compensation],
) -> PlannedTensor | None:
    """What is left of a tensor; None where its whole part is gone."""
    match = _BLOCK_TENSOR.fullmatch(tensor.name)
    if match is None:
        return tensor
    part, _, kind = match["rest"].partition(".")
    block = cut[int(match["block"])]
    groups, neurons = block.kv_groups, block.neurons
    if part in _ATTENTION and not len(groups):
        return None
    match part:
        case "attn_q":
            return _kept_rows(plan, tensor, attention_columns(shape, groups))
        case "attn_k" | "attn_v":
            return _kept_rows(plan, tensor, _spread(groups, shape.head_dim))
        case "ffn_gate" | "ffn_up":
            return _kept_rows(plan, tensor, neurons)
        case "attn_output" | "ffn_down" if kind == "weight":
            columns = neurons if part == "ffn_down" else attention_columns(shape, groups)
            given = compensation.get(tensor.name)
            return _kept_columns(plan, tensor, columns, None if given is None else given.weight)
    return tensor


def _kept_rows(plan: GgufPlan, tensor: PlannedTensor, rows: Indices) -> PlannedTensor:
    return tensor if len(rows) == tensor.shape[-1] else chosen_rows(plan, tensor, rows)


def _kept_columns(
    plan: GgufPlan, tensor: PlannedTensor, columns: Indices, weight: Matrix | None
) -> PlannedTensor:
    shape = (len(columns), tensor.shape[1])
    if weight is not None:
        return computed(tensor, shape, lambda: weight)
    if len(columns) == tensor.shape[0]:
        return tensor
    return computed(tensor, shape, partial(_sliced, plan, tensor.name, columns))


def _sliced(plan: GgufPlan, name: str, columns: Indices) -> Matrix:
    return np.ascontiguousarray(planned_weights(plan, name)[:, columns])


def _bias_tensor(name: str, bias: Matrix) -> PlannedTensor:
    values = np.ascontiguousarray(bias, np.float32)
    return PlannedTensor(name, values.shape, "F32", ComputedTensor(lambda: values.view(np.uint8)))


def _raised(plan: GgufPlan, name: str, bias: Matrix) -> PlannedTensor:
    """A bias that the model already has, with another added."""
    tensor = find_tensor(plan, name)
    assert tensor is not None
    return computed(tensor, tensor.shape, lambda: planned_weights(plan, name) + bias)


def _with_sizes(plan: GgufPlan, shape: ModelShape, cut: WidthCut) -> GgufPlan:
    kept = [(len(block.kv_groups), len(block.neurons)) for block in cut]
    sizes = [(shape.group_heads * groups, groups, neurons) for groups, neurons in kept]
    edits = dict(plan.edits)
    for suffix, values in zip(PER_BLOCK_FIELDS, zip(*sizes, strict=True), strict=True):
        one_for_all = plan.architecture != "deci"
        edits[f"{plan.architecture}.{suffix}"] = (
            FieldValue("u32", values[0]) if one_for_all else block_array(tuple(values))
        )
    return replace(plan, edits=edits)


def _spread(units: Indices, width: int) -> Indices:
    """The items of units that are `width` items wide."""
    items: Indices = (units[:, None] * width + np.arange(width)).reshape(-1)
    return items
