"""How much to remove: a share of the blocks' weights, a size that shall be left, or a number of blocks."""

import math
from dataclasses import dataclass

from edgespec.catalog.metadata import GgufMetadata
from edgespec.errors import UsageError


@dataclass(frozen=True, slots=True)
class Amount:
    """How much to remove; one of the three."""

    ratio: float | None = None
    """Of the weights in the blocks, 0 to 1."""
    n_params: float | None = None
    """Weights that the whole model shall have."""
    n_blocks: int | None = None

    def ratio_of(self, meta: GgufMetadata) -> float:
        """The share of the blocks' weights to remove.

        Raises:
            UsageError: nothing, or everything.
        """
        if self.n_blocks is not None:
            ratio = self.n_blocks / max(1, meta.block_count or 0)
        elif self.n_params is not None:
            ratio = (meta.parameter_count - self.n_params) / max(1, block_parameters(meta))
        else:
            ratio = self.ratio or 0.0
        if 0 < ratio < 1:
            return ratio
        raise UsageError(
            f"{self._said()} would remove {ratio:.0%} of the weights in the blocks",
            f"the model has {human_count(meta.parameter_count)} parameters, "
            f"{human_count(block_parameters(meta))} of them in its {meta.block_count} blocks",
        )

    def blocks_of(self, meta: GgufMetadata) -> int:
        """The number of blocks to remove, rounded to the nearest.

        Raises:
            UsageError: that is no block, or all of them.
        """
        n_blocks = meta.block_count or 0
        count = self.n_blocks
        if count is None:
            count = math.floor(self.ratio_of(meta) * n_blocks + 0.5)
        if 1 <= count < n_blocks:
            return count
        raise UsageError(
            f"{self._said()} would remove {count} of {n_blocks} blocks", f"remove 1 to {n_blocks - 1} blocks"
        )

    def _said(self) -> str:
        if self.n_blocks is not None:
            return f"{self.n_blocks} blocks"
        if self.n_params is not None:
            return f"{human_count(self.n_params)} parameters"
        return f"a ratio of {self.ratio or 0.0:g}"


def block_parameters(meta: GgufMetadata) -> int:
    """Weights inside the blocks, without embeddings and output."""
    return sum(tensor.n_elements for tensor in meta.tensors if tensor.name.startswith("blk."))


def human_count(count: float) -> str:
    """Such as `4.92B` or `134.5M`."""
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"
