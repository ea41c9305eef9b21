"""Carriers: architectures of llama.cpp that compute what a model computes and accept what pruning does to it.

`llama` loads any number of heads and the biases `attn_output.bias` and `ffn_down.bias`; `deci` is the same graph with
widths of its own for every block. `qwen2` accepts neither other heads nor those biases, and turns the halves of a
head by its rotary positions where the carriers turn neighbours: a permutation of the rows of `attn_q` and `attn_k`
makes one of the other, exact in every type. (src/models/llama.cpp, deci.cpp and qwen2.cpp of llama.cpp.)
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import ModelFileError, UsageError
from quant.container import FieldValue, GgufPlan, PlannedTensor
from quant.rows import chosen_rows
from quant.tensors import find_tensor

WIDTH_ARCHITECTURES: Final = ("llama", "deci", "qwen2")
"""Those whose widths can be cut."""

Carrier = Literal["llama", "deci"]

PER_BLOCK_FIELDS: Final = ("attention.head_count", "attention.head_count_kv", "feed_forward_length")
_LENGTHS: Final = ("attention.key_length", "attention.value_length", "rope.dimension_count")
_ROTATED: Final = re.compile(r"blk\.\d+\.attn_[qk]\.(weight|bias)", re.ASCII)


def to_carrier(plan: GgufPlan, *, per_block: bool) -> GgufPlan:
    """The same model in the architecture that carries its cut.

    Args:
        plan: Of an architecture of WIDTH_ARCHITECTURES.
        per_block: Whether blocks shall have widths of their own: `deci`, with arrays for heads and neurons, instead
            of `llama`. A `deci` source stays one.

    Raises:
        UsageError: another architecture, or something in it that the carriers do not compute.
        ModelFileError: the file lacks a size.
    """
    source = plan.architecture
    check_width_architecture(plan)
    target: Carrier = "deci" if per_block or source == "deci" else "llama"
    head_dim = read_head_dim(plan)
    lengths = {f"{target}.{suffix}": FieldValue("u32", head_dim) for suffix in _LENGTHS}
    arrays = _per_block_arrays(plan) if target == "deci" else {}
    carried = _renamed(plan, target) if target != source else plan
    carried = replace(carried, edits={**carried.edits, **lengths, **arrays})
    if source == "qwen2":
        carried = replace(
            carried, tensors=tuple(_with_neighbours(carried, tensor, head_dim) for tensor in carried.tensors)
        )
    return carried


def check_width_architecture(plan: GgufPlan) -> None:
    """Makes sure that the plan's model can be carried.

    Raises:
        UsageError: it cannot.
    """
    architecture = plan.architecture
    if architecture not in WIDTH_ARCHITECTURES:
        raise UsageError(
            f"widths of the architecture {architecture or 'unknown'} cannot be cut",
            f"those that can: {', '.join(WIDTH_ARCHITECTURES)}; blocks can be removed from more",
        )
    experts = plan.field(f"{architecture}.expert_count")
    if experts is not None and experts.value:
        raise UsageError("widths of a mixture of experts cannot be cut", "remove whole blocks instead")
    if find_tensor(plan, "output.bias") is not None:
        raise UsageError("a model with output.bias has no carrier", "remove whole blocks instead")


def read_head_dim(plan: GgufPlan) -> int:
    """Width of a head's keys, values and rotary positions.

    Raises:
        UsageError: the three are not the same.
        ModelFileError: the file lacks a size.
    """
    heads = max(required_sizes(plan, "attention.head_count"))
    default = required_sizes(plan, "embedding_length")[0] // max(1, heads)
    sizes = {_integer(plan, suffix) or default for suffix in _LENGTHS}
    if len(sizes) > 1:
        raise UsageError(
            "heads whose keys, values and rotary positions differ in width have no carrier",
            "remove whole blocks instead",
        )
    return sizes.pop()


def required_sizes(plan: GgufPlan, suffix: str) -> tuple[int, ...]:
    """A size of the plan's architecture: one number, or one for each block.

    Raises:
        ModelFileError: the file lacks it.
    """
    key = f"{plan.architecture}.{suffix}"
    value = plan.field(key)
    if value is None and suffix == "attention.head_count_kv":
        return required_sizes(plan, "attention.head_count")  # llama.cpp's default
    if value is None:
        raise ModelFileError(f"{plan.source.path.name} has no {key}", "convert the model again")
    items = value.value if isinstance(value.value, tuple) else (value.value,)
    return tuple(int(item) for item in items)


def block_array(values: tuple[int, ...]) -> FieldValue:
    """One number for each block, as converters write `deci`."""
    return FieldValue("i32", values)


def _per_block_arrays(plan: GgufPlan) -> Mapping[str, FieldValue]:
    (n_blocks,) = required_sizes(plan, "block_count")
    arrays = {}
    for suffix in PER_BLOCK_FIELDS:
        sizes = required_sizes(plan, suffix)
        arrays[f"deci.{suffix}"] = block_array(sizes if len(sizes) > 1 else sizes * n_blocks)
    return arrays


def _renamed(plan: GgufPlan, target: Carrier) -> GgufPlan:
    """The plan's keys under another architecture's prefix, also those that steps before renamed or set."""
    old, new = f"{plan.architecture}.", f"{target}."

    def name(key: str) -> str:
        return new + key.removeprefix(old) if key.startswith(old) else key

    present = {key: plan.renames.get(key, key) for key in plan.source.fields}
    renames = {key: name(now) for key, now in present.items() if name(now) != key}
    edits = {name(key): value for key, value in plan.edits.items()}
    return replace(plan, renames=renames, edits={**edits, "general.architecture": FieldValue("str", target)})


def _with_neighbours(plan: GgufPlan, tensor: PlannedTensor, head_dim: int) -> PlannedTensor:
    """Rotary halves (i, i + head_dim / 2) become neighbours (2 i, 2 i + 1)."""
    if _ROTATED.fullmatch(tensor.name) is None:
        return tensor
    rows = np.arange(tensor.shape[-1]).reshape(-1, 2, head_dim // 2)
    order: NDArray[np.int64] = rows.transpose(0, 2, 1).reshape(-1)
    return chosen_rows(plan, tensor, order)


def _integer(plan: GgufPlan, suffix: str) -> int | None:
    value = plan.field(f"{plan.architecture}.{suffix}")
    return value.value if value is not None and isinstance(value.value, int) else None
