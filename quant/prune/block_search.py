"""Blocks by trial: the model is run without them, and the loss says which it misses least.

The default follows what was measured (docs/pruning.md): after the least-squares fold contiguous windows beat every
scattered choice, and the fold changes which window is best; so each window is judged with its fold in place, in
memory, on text that the fold has not seen.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.model import Model
from edgespec.llama.native_context import Logits
from edgespec.progress import SILENT, Progress
from quant.measure.ablation import Bypass, ablated
from quant.measure.activations import run_windows
from quant.measure.likelihood import nll
from quant.prune.amount import BlockAmount
from quant.prune.blocks import BlockSpan, spans_of
from quant.prune.fold import FoldStatistics, fold_statistics
from quant.text.calibration import Calibration
from quant.text.windows import Tokens

_FIRST_ROUND_WINDOWS: Final = 1
"""Of the held-out text: every candidate reads it, so that the first round is the one with the most evaluations."""
_GROWTH: Final = 2
"""A round reads so many times the text of the one before, as in successive halving (arXiv 1502.07943)."""
_KEPT_ONE_IN: Final = 3
"""Candidates of a round that reach the next. Successive halving keeps one in two; late rounds are the dearer ones here,
and what is behind by then stays behind."""


def mean_nll(model: Model, windows: Tokens, bypasses: Sequence[Bypass] = ()) -> float:
    """Mean negative log-likelihood over all next tokens of the windows, in nats, with some spans bypassed.

    Of each window the n_ctx - 1 tokens count that follow another.

    Args:
        model: On the CPU.
        windows: `[n_windows, n_ctx]` tokens.
        bypasses: Spans that do not overlap.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    values: list[NDArray[np.float64]] = []

    def score(window: int, logits: Logits) -> None:
        values.append(nll(logits[:-1], windows[window, 1:]))

    run_windows(model, windows, ablated(bypasses) if bypasses else None, visit=score)
    return float(np.concatenate(values).mean())


def best_window(
    model: Model,
    text: Calibration,
    amount: BlockAmount,
    *,
    folds: bool = True,
    progress: Progress = SILENT,
) -> BlockSpan:
    """The contiguous window of blocks that costs least.

    Of 6 blocks of which 1 to 5 may go, 2 that leave have four candidates: 1-2, 2-3, 3-4 and 4-5. Each gets its fold from
    `text.fit`, one pass over which serves them all; then they compete on `text.held_out`.

    Args:
        model: The dense model, on the CPU.
        text: Windows `[n_windows, n_ctx]` that the folds are fitted on, and others that judge them.
        amount: How many leave, and which may.
        folds: Judge every window with its fold; False judges the model as it is without the blocks.
        progress: Gets a stage for the folds, and one for every round of the comparison.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    starts = amount.allowed[: len(amount.allowed) - amount.n_removed + 1]
    spans = [BlockSpan(first, first + amount.n_removed - 1) for first in starts]
    statistics: dict[BlockSpan, FoldStatistics] = {}
    if folds:
        foldable = [span for span in spans if span.first > 0]
        statistics = fold_statistics(model, text.fit, foldable, progress=progress)
    bypasses = {
        span: Bypass(span.first, span.last, statistics[span].solve() if span in statistics else None)
        for span in spans
    }
    return _halve(model, text.held_out, bypasses, progress)


def _halve(
    model: Model, held_out: Tokens, bypasses: Mapping[BlockSpan, Bypass], progress: Progress
) -> BlockSpan:
    """Successive halving: few windows for all candidates, all windows for the last ones."""
    candidates = list(bypasses)
    sums = dict.fromkeys(candidates, 0.0)
    start, n_windows = 0, _FIRST_ROUND_WINDOWS
    while len(candidates) > 1 and start < len(held_out):
        part = held_out[start : start + n_windows]
        progress.stage("comparing windows of blocks", len(candidates))
        for span in candidates:
            sums[span] += len(part) * mean_nll(model, part, [bypasses[span]])
            progress.advance()
        candidates = sorted(candidates, key=sums.__getitem__)[: max(1, len(candidates) // _KEPT_ONE_IN)]
        start, n_windows = start + n_windows, n_windows * _GROWTH
    return min(candidates, key=sums.__getitem__)


def greedy(
    model: Model, windows: Tokens, amount: BlockAmount, *, progress: Progress = SILENT
) -> tuple[int, ...]:
    """Removes the block whose loss costs least, again and again (SLEB, arXiv 2402.09025).

    Args:
        model: The dense model, on the CPU.
        windows: `[n_windows, n_ctx]` tokens; all are read for every block at every step.
        amount: How many leave, and which may.
        progress: Gets a stage for every block that leaves.

    Returns:
        The blocks' numbers, ascending.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    removed: list[int] = []
    for number in range(1, amount.n_removed + 1):
        rest = [block for block in amount.allowed if block not in removed]
        losses = {}
        progress.stage(f"choosing block {number} of {amount.n_removed}", len(rest))
        for block in rest:
            bypasses = [Bypass(span.first, span.last) for span in spans_of([*removed, block])]
            losses[block] = mean_nll(model, windows, bypasses)
            progress.advance()
        removed.append(min(rest, key=losses.__getitem__))
    return tuple(sorted(removed))
