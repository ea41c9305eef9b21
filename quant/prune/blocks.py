"""Removing whole transformer blocks from a plan, with the metadata made consistent.

Tensors are renamed and otherwise untouched, so that what is kept stays byte for byte; `llama_model_quantize` with
`prune_layers` and `only_copy` gives the same tensors, but leaves per-block arrays and window patterns wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgespec.catalog.weights_check import BLOCK_TENSOR
from edgespec.errors import ModelFileError, UsageError
from quant.gguf.fields import FieldValue
from quant.gguf.plan import GgufPlan, PlannedTensor

DEPTH_ARCHITECTURES: Final = ("llama", "deci", "qwen2", "qwen3", "gemma3")
"""Those whose blocks can be removed: their loaders were read for everything that depends on a block's number."""

_NOT_PER_BLOCK = frozenset({"rope.dimension_sections"})
"""Arrays whose length may equal the number of blocks by chance."""
_GEMMA3_PERIOD = 6
"""One full-attention block in so many, where the file does not say (src/models/gemma3.cpp)."""
_GEMMA3_27B_BLOCKS = 62
"""llama.cpp scales attention another way for this number of blocks (src/models/gemma3.cpp)."""


@dataclass(frozen=True, slots=True, order=True)
class BlockSpan:
    """Consecutive blocks, both ends included."""

    first: int
    last: int

    @property
    def blocks(self) -> range:
        """Their numbers."""
        return range(self.first, self.last + 1)


def spans_of(blocks: Sequence[int]) -> tuple[BlockSpan, ...]:
    """The gaps that these blocks leave when they are removed, in order.

    Blocks 2, 7, 3 and 8 leave two gaps, 2 to 3 and 7 to 8.
    """
    spans: list[BlockSpan] = []
    for block in sorted(set(blocks)):
        if spans and spans[-1].last == block - 1:
            spans[-1] = BlockSpan(spans[-1].first, block)
        else:
            spans.append(BlockSpan(block, block))
    return tuple(spans)


def remove_blocks(plan: GgufPlan, removed: Sequence[int]) -> GgufPlan:
    """The plan without some blocks; those that follow move up.

    Args:
        plan: Of any step before; its present blocks are counted from 0.
        removed: Blocks to leave out, in any order.

    Raises:
        UsageError: the architecture is not in DEPTH_ARCHITECTURES, a block does not exist, or none would be left.
        ModelFileError: the file does not say how many blocks it has.
    """
    _check_architecture(plan.architecture)
    n_blocks = count_blocks(plan)
    kept = _kept_blocks(n_blocks, removed)
    if len(kept) == n_blocks:
        return plan
    if plan.architecture == "gemma3":
        _check_gemma3_scale(plan, n_blocks, len(kept))
    edits = {
        **plan.edits,
        **_sliced_arrays(plan, n_blocks, kept),
        **_window_flags(plan, kept),
        f"{plan.architecture}.block_count": FieldValue("u32", len(kept)),
    }
    return replace(plan, tensors=_renumbered(plan.tensors, kept), edits=edits)


def count_blocks(plan: GgufPlan) -> int:
    """How many blocks a plan's model has.

    Raises:
        ModelFileError: the file does not say.
    """
    count = plan.integer("block_count")
    if not count:
        raise ModelFileError(
            f"{plan.source.path} has no {plan.architecture}.block_count", "convert the model again"
        )
    return count


def _check_architecture(architecture: str) -> None:
    if architecture not in DEPTH_ARCHITECTURES:
        raise UsageError(
            f"blocks of the architecture {architecture or 'unknown'} cannot be removed",
            f"those that can: {', '.join(DEPTH_ARCHITECTURES)}",
        )


def _kept_blocks(n_blocks: int, removed: Sequence[int]) -> tuple[int, ...]:
    unknown = sorted(block for block in set(removed) if not 0 <= block < n_blocks)
    if unknown:
        raise UsageError(
            f"there is no block {unknown[0]} in a model of {n_blocks}", f"they are 0 to {n_blocks - 1}"
        )
    kept = tuple(block for block in range(n_blocks) if block not in set(removed))
    if not kept:
        raise UsageError(f"removing all {n_blocks} blocks leaves none", "keep at least one")
    return kept


def _check_gemma3_scale(plan: GgufPlan, n_before: int, n_after: int) -> None:
    width, heads, key = (
        plan.integer(name) for name in ("embedding_length", "attention.head_count", "attention.key_length")
    )
    if _GEMMA3_27B_BLOCKS not in (n_before, n_after) or (width and heads and key and width // heads == key):
        return
    raise UsageError(
        f"a gemma3 of {n_before} blocks cut to {n_after} would compute another attention: llama.cpp knows the 27B "
        f"model, and its scale, by its {_GEMMA3_27B_BLOCKS} blocks",
        "remove another number of blocks" if n_before != _GEMMA3_27B_BLOCKS else "cut its widths instead",
    )


def _sliced_arrays(plan: GgufPlan, n_blocks: int, kept: tuple[int, ...]) -> dict[str, FieldValue]:
    """Arrays with one item for each block."""
    prefix = f"{plan.architecture}."
    sliced: dict[str, FieldValue] = {}
    for key in plan.field_names():
        if not key.startswith(prefix) or key.removeprefix(prefix) in _NOT_PER_BLOCK:
            continue
        old = plan.field(key)
        if old is not None and isinstance(old.value, tuple) and len(old.value) == n_blocks:
            sliced[key] = FieldValue(old.type, tuple(old.value[block] for block in kept))
    return sliced


def _window_flags(plan: GgufPlan, kept: tuple[int, ...]) -> dict[str, FieldValue]:
    """Gemma 3's pattern as flags: a period would count the blocks anew (`load_swa_pattern`, src/llama-model.cpp)."""
    key = f"{plan.architecture}.attention.sliding_window_pattern"
    pattern = plan.field(key)
    if plan.architecture != "gemma3" or not plan.integer("attention.sliding_window"):
        return {}
    if pattern is not None and isinstance(pattern.value, tuple):
        return {}  # sliced with the other arrays
    stored = plan.integer("attention.sliding_window_pattern")
    period = _GEMMA3_PERIOD if stored is None else stored
    return {key: FieldValue("bool", tuple(not period or block % period < period - 1 for block in kept))}


def _renumbered(tensors: tuple[PlannedTensor, ...], kept: tuple[int, ...]) -> tuple[PlannedTensor, ...]:
    numbers = {old: new for new, old in enumerate(kept)}
    result: list[PlannedTensor] = []
    for tensor in tensors:
        match = BLOCK_TENSOR.fullmatch(tensor.name)
        if match is None:
            result.append(tensor)
        elif (number := numbers.get(int(match["block"]))) is not None:
            result.append(replace(tensor, name=f"blk.{number}.{match['rest']}"))
    return tuple(result)
