"""How much to remove: a share of the blocks' weights, a size that shall be left, or a number of blocks."""

import math
from dataclasses import dataclass
from typing import Final

from edgespec.catalog.metadata import GgufMetadata
from edgespec.errors import UsageError
from quant.gguf.sizes import block_parameters
from quant.prune.choices import NO_PROTECTION, Protection

DEFAULT_RATIO: Final = 0.25
"""Of the blocks' weights: what is removed where nobody says how much."""
_COUNT_UNITS: Final = {"K": 1e3, "M": 1e6, "B": 1e9}


@dataclass(frozen=True, slots=True)
class Amount:
    """How much to remove; one of the three."""

    ratio: float | None = None
    """Of the weights in the blocks, 0 to 1."""
    n_params: float | None = None
    """Weights that the whole model shall have left."""
    n_blocks: int | None = None
    """0 removes no whole block, where only parts of them leave."""

    def ratio_of(self, meta: GgufMetadata) -> float:
        """The share of a model's block weights to remove, between 0 and 1.

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
        """The number of a model's blocks to remove, rounded to the nearest.

        Raises:
            UsageError: that is not a single block, or it is all of them.
        """
        n_blocks = meta.block_count or 0
        count = self.n_blocks
        if count is None:
            count = math.floor(self.ratio_of(meta) * n_blocks + 0.5)
        if 1 <= count < n_blocks or self.n_blocks == 0:
            return count
        way_out = (
            f"remove 1 to {n_blocks - 1} blocks" if n_blocks > 1 else "a model of one block has none to spare"
        )
        raise UsageError(f"{self._said()} would remove {count} of {n_blocks} blocks", way_out)

    def _said(self) -> str:
        if self.n_blocks is not None:
            return f"{self.n_blocks} blocks"
        if self.n_params is not None:
            return f"{human_count(self.n_params)} parameters"
        return f"a ratio of {self.ratio or 0.0:g}"


@dataclass(frozen=True, slots=True)
class BlockAmount:
    """How many whole blocks leave, and which may."""

    n_removed: int
    allowed: range

    @classmethod
    def under(cls, protection: Protection, n_blocks: int, n_removed: int) -> "BlockAmount":
        """So many of a model's blocks, some of which are protected.

        Raises:
            UsageError: fewer blocks may go than are to be removed.
        """
        allowed = protection.allowed(n_blocks)
        if n_removed > len(allowed):
            raise UsageError(
                f"{n_removed} of {n_blocks} blocks cannot be removed with the first {protection.n_first} and the last "
                f"{protection.n_last} protected: that leaves {len(allowed)}",
                "remove fewer blocks, or protect fewer with `protect_first` and `protect_last`",
            )
        return cls(n_removed, allowed)


@dataclass(frozen=True, slots=True)
class WidthAmount:
    """How much leaves as heads and neurons, and where it may."""

    ratio: float
    """Share of the weights in all blocks, 0 to 1."""
    protection: Protection = NO_PROTECTION
    """Blocks that stay whole; the others lose the more."""
    n_groups: int | None = None
    """KV groups that leave: of all blocks together (adaptive), or of each (uniform). None: as many as fit."""


def human_count(count: float) -> str:
    """Such as `4.92B` or `134.5M`."""
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"


def choose_amount(
    ratio: float | None = None,
    params: str | None = None,
    n_blocks: int | None = None,
    n_named: int | None = None,
) -> Amount:
    """The amount that was asked for in one of four ways; a quarter of the weights when in none.

    Args:
        ratio: Share of the weights in the blocks.
        params: What shall be left, as a person writes it.
        n_blocks: Number of blocks to remove.
        n_named: Blocks that were named one by one.

    Raises:
        UsageError: it was said in two ways, or `params` is not a number.
    """
    if sum(value is not None for value in (ratio, params, n_blocks, n_named)) > 1:
        raise UsageError("`ratio`, `params`, `n_blocks` and `blocks` say the same thing", "give one of them")
    if params is not None:
        return Amount(n_params=read_count(params))
    count = n_blocks if n_named is None else n_named
    if count is not None:
        return Amount(n_blocks=count)
    return Amount(ratio=DEFAULT_RATIO if ratio is None else ratio)


def read_blocks(text: str) -> tuple[int, ...]:
    """Block numbers written as `12-18` or `4,9,10`.

    Raises:
        UsageError: it is not such a list.
    """
    numbers: set[int] = set()
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            numbers |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        raise UsageError(
            f"`blocks` {text!r} is not a list of blocks", "write it as 12-18 or 4,9,10"
        ) from None
    return tuple(sorted(numbers))


def read_count(text: str) -> float:
    """A number of parameters written as `4.9B` or `130M`.

    Raises:
        UsageError: it is not a number.
    """
    number, unit = text[:-1], text[-1:].upper()
    try:
        return float(number) * _COUNT_UNITS[unit] if unit in _COUNT_UNITS else float(text)
    except ValueError:
        raise UsageError(
            f"`params` {text!r} is not a number of parameters", "write it as 4.9B or 130M"
        ) from None
