"""What a method takes out of a model, and the model without it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quant.gguf.plan import GgufPlan
from quant.prune.blocks import count_blocks, remove_blocks
from quant.prune.repair_report import RepairReport

if TYPE_CHECKING:
    from quant.prune.width import BlockWidth, Matrix


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What leaves."""

    removed_blocks: tuple[int, ...] = ()
    """Whole ones, by their numbers in the dense model, ascending."""
    widths: "tuple[BlockWidth, ...]" = ()
    """What each of the kept blocks keeps; empty where all stay whole."""
    biases: "Mapping[str, Matrix]" = field(default_factory=dict)
    """What the removed inputs added on average, `[n_embd]`, by projection such as `blk.3.ffn_down`, numbered as kept."""

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """KV groups and neurons that each of the kept blocks keeps; empty where all stay whole."""
        return tuple((len(block.kv_groups), len(block.neurons)) for block in self.widths)


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """A model without its selection, before or after the repair."""

    dense: GgufPlan
    selection: Selection
    gguf: GgufPlan
    """Of the smaller model."""
    report: RepairReport | None = None
    """None before a repair, and without one."""
    n_tokens_read: int = 0
    """Of the calibration text, by the choice and the repair."""

    @property
    def kept_blocks(self) -> tuple[int, ...]:
        """For each of the smaller model's blocks, its number in the dense one."""
        removed = self.selection.removed_blocks
        return tuple(block for block in range(count_blocks(self.dense)) if block not in removed)


def take_out(dense: GgufPlan, selection: Selection) -> Pruned:
    """The model without what was selected; the rest keeps its bytes, where no row lost a part.

    Raises:
        UsageError: an architecture that cannot lose it, or a selection that leaves too little.
        ModelFileError: the file does not say how many blocks it has.
    """
    gguf = remove_blocks(dense, selection.removed_blocks)
    if selection.widths:
        from quant.prune.width import cut_widths  # numpy

        gguf = cut_widths(gguf, selection.widths, selection.biases)
    return Pruned(dense, selection, gguf)
