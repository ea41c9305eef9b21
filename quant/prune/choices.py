"""The words that a pruning is asked for in: methods, criteria, importances, blocks that stay.

Plain values: what only copies need not load numpy, which is a tenth of a second and 18 MB.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

Structure = Literal["adaptive", "uniform"]
"""`adaptive` ranks the units of all blocks together, `uniform` cuts every block by the same share."""


class Method(StrEnum):
    """What is removed."""

    DEPTH = "depth"
    """Whole blocks."""
    FLAP = "flap"
    """Heads and neurons that hardly fluctuate (quant/prune/flap.py)."""
    LLM_PRUNER = "llm-pruner"
    """Heads and neurons that change the loss least (quant/prune/llm_pruner.py)."""


class Criterion(StrEnum):
    """How blocks are chosen."""

    WINDOW = "window"
    """The contiguous window whose repaired model has the lowest loss on held-out text."""
    PPL = "ppl"
    """Perplexity without the block (Shortened LLaMA, arXiv 2402.02834)."""
    KL = "kl"
    """KL divergence from the dense model without the block."""
    GREEDY = "greedy"
    """One block at a time, all others scored anew (SLEB, arXiv 2402.09025)."""
    BLOCK_INFLUENCE = "bi"
    """1 - cosine between a block's input and output (ShortGPT, arXiv 2403.03853)."""
    ANGULAR = "angular"
    """The contiguous window with the least angle between its input and output (arXiv 2403.17887)."""
    TAYLOR = "taylor"
    """Sum of |weight x gradient|, first 4 and last 2 blocks protected (Shortened LLaMA "Taylor+")."""
    MAGNITUDE = "magnitude"
    """Sum of its weights' magnitudes, first 4 and last 2 blocks protected (Shortened LLaMA "Mag+")."""


@dataclass(frozen=True, slots=True)
class Protection:
    """Blocks at both ends that are never removed."""

    n_first: int
    n_last: int

    def allowed(self, n_blocks: int) -> range:
        """The blocks that may go, of a model of so many."""
        return range(self.n_first, n_blocks - self.n_last)


PUBLISHED_PROTECTION: Final = Protection(4, 2)
"""The "+" rule of Shortened LLaMA (arXiv 2402.02834): weights and their gradients misjudge the ends."""
DEFAULT_PROTECTION: Final = Protection(1, 0)
"""The fold needs an FFN before the gap."""
NO_PROTECTION: Final = Protection(0, 0)


def protection_for(criterion: Criterion, n_first: int | None, n_last: int | None) -> Protection:
    """The user's numbers, and the criterion's own where there are none."""
    by_weights = criterion in (Criterion.MAGNITUDE, Criterion.TAYLOR)
    default = PUBLISHED_PROTECTION if by_weights else DEFAULT_PROTECTION
    return Protection(
        default.n_first if n_first is None else n_first, default.n_last if n_last is None else n_last
    )


class Importance(StrEnum):
    """The figure of a row or a column of weights w, by LLM-Pruner's names for it (LLMPruner/pruner/hf_llama_pruner.py).

    With g the gradient of the mean loss and F the mean over the samples of their squared gradients.
    """

    ELEMENT = "element"
    """Sum of |w g|: `param_first`, Element 1."""
    VECTOR = "vector"
    """|sum of w g|: `vectorize`."""
    SECOND = "second"
    """Sum of |w² F|: `param_second`."""
    MIXED = "mixed"
    """Sum of |w g - w² F / 2|: `param_mix`, Element 2."""

    @property
    def wants_squares(self) -> bool:
        """Whether it reads F."""
        return self in (Importance.SECOND, Importance.MIXED)
