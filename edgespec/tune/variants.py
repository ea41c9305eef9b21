"""Variants of a target and of its drafts: the files that are tried, and with which settings."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgespec.catalog.metadata import read_metadata
from edgespec.llama.shortlist import Shortlist, shortlist_for
from edgespec.session.fast_draft import SHORTLIST_EXTRA_KEY, SHORTLIST_KEY
from quant.gguf.fields import FieldValue
from quant.gguf.plan import copy_of
from quant.gguf.recipe import stamp
from quant.gguf.writer import write_gguf
from quant.measure.evaluate import Distance

PUBLISHED: Final = "as published"
"""Label of the target variant that nothing was done to."""


@dataclass(frozen=True, slots=True)
class TargetVariant:
    """The target in some types."""

    label: str
    path: Path
    distance: Distance | None = None
    """From the published file, on what that one writes; None for the published file itself."""

    @property
    def is_published(self) -> bool:
        """Whether it is the file as it came."""
        return self.label == PUBLISHED


@dataclass(frozen=True, slots=True)
class ShortlistSettings:
    """The tokens that a draft may guess besides those of the text at hand (FR-Spec, arXiv 2502.14856)."""

    n_frequent: int
    """Leading tokens of the vocabulary."""
    extra: tuple[int, ...] = ()
    """Others, by id."""

    def make(self, n_vocab: int) -> Shortlist | None:
        """The list for a context; None where it would save little, or without edgespec's kernels."""
        return shortlist_for(n_vocab, self.n_frequent, self.extra)

    def mask(self, n_vocab: int) -> NDArray[np.bool_]:
        """Which tokens are listed, `[n_vocab]`."""
        mask = np.zeros(n_vocab, np.bool_)
        mask[: self.n_frequent] = True
        mask[list(self.extra)] = True
        return mask


@dataclass(frozen=True, slots=True)
class DraftVariant:
    """A draft as it would be run."""

    label: str
    source: str
    """Name of the model that it is made from."""
    path: Path
    kind: Literal["published", "fast copy", "shortlist", "pruned", "distilled"]
    is_untuned: bool = False
    """Whether it is what `auto` makes of this model without tuning."""
    shortlist: ShortlistSettings | None = None
    """None: it may guess every token."""
    removed_blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PairVariant:
    """A target variant and what drafts for it; None: the text alone, or nothing."""

    target: TargetVariant
    draft: DraftVariant | None


def write_draft(variant: DraftVariant, destination: Path) -> None:
    """Writes the draft as a file that carries its shortlist and how it was made; one that is there is replaced.

    Raises:
        DiskSpaceError: no room for the file.
        UsageError: the destination cannot be written.
    """
    plan = copy_of(read_metadata(variant.path))
    step: dict[str, object] = {
        "step": "tune",
        "form": variant.label,
        "removed_blocks": list(variant.removed_blocks),
    }
    if variant.shortlist is not None:
        step["words"] = variant.shortlist.n_frequent
        fields = {
            SHORTLIST_KEY: FieldValue("u32", variant.shortlist.n_frequent),
            SHORTLIST_EXTRA_KEY: FieldValue("i32", variant.shortlist.extra),
        }
        plan = replace(plan, edits={**plan.edits, **fields})
    destination.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(stamp(plan, step), destination, force=True)
