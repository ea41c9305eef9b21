"""Which blocks to remove: every published criterion under its name, and the window whose repaired model is best.

The default follows what was measured (docs/pruning.md): after the least-squares fold contiguous windows beat every
scattered choice, and the fold changes which window is best; so each window is judged with its fold in place, in
memory, on text that the fold has not seen.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.model import Model
from edgespec.llama.native_context import Logits
from quant.measure.ablation import Bypass, ablated, score_blocks
from quant.measure.activations import run_windows
from quant.measure.evaluate import nll
from quant.progress import ChunkProgress, StageProgress, stage_of
from quant.prune.block_importance import angular_distances, block_influence, closest_span, lowest
from quant.prune.choices import Criterion, Protection, check_protection
from quant.prune.fold import FoldStatistics, Span, fold_statistics, spans_of
from quant.text.windows import Tokens

_FIRST_ROUND_WINDOWS = 1
_GROWTH = 2
_KEPT_ONE_IN = 3
"""Every round of the search keeps a third of the candidates and doubles the text (as successive halving, arXiv
1502.07943): late rounds are the dearer ones, and what is behind by then stays behind."""


def mean_nll(
    model: Model,
    windows: Tokens,
    bypasses: Sequence[Bypass] = (),
    *,
    n_threads: int | None = None,
    progress: ChunkProgress | None = None,
) -> float:
    """Mean negative log-likelihood in nats over all next tokens of the windows, with some spans bypassed."""
    values: list[NDArray[np.float64]] = []

    def score(window: int, logits: Logits) -> None:
        values.append(nll(logits[:-1], windows[window, 1:]))

    tap = ablated(bypasses) if bypasses else None
    run_windows(model, windows, tap, n_threads=n_threads, progress=progress, visit=score)
    return float(np.concatenate(values).mean())


def best_window(
    model: Model,
    fit: Tokens,
    held_out: Tokens,
    n_removed: int,
    protection: Protection,
    *,
    repair: bool = True,
    n_threads: int | None = None,
    progress: StageProgress | None = None,
) -> Span:
    """The contiguous window of `n_removed` blocks that costs least.

    Args:
        model: The dense model, on the CPU.
        fit: Windows of tokens that the folds are fitted on.
        held_out: Windows that judge them.
        n_removed: Blocks to remove.
        protection: Blocks that stay.
        repair: Judge every window with its fold; False judges the bare cut.
        n_threads: None takes the physical cores.
        progress: Told about both stages.

    Raises:
        UsageError: the protection leaves no such window.
        NotEnoughMemoryError: no room for the context.
    """
    check_protection(protection, model.n_layer, n_removed)
    allowed = protection.allowed(model.n_layer)
    spans = [Span(first, first + n_removed - 1) for first in allowed[: len(allowed) - n_removed + 1]]
    statistics: dict[Span, FoldStatistics] = {}
    if repair:
        foldable = [span for span in spans if span.first > 0]
        statistics = fold_statistics(
            model,
            fit,
            foldable,
            n_threads=n_threads,
            progress=stage_of(progress, "reading the calibration text"),
        )
    bypasses = {
        span: Bypass(span.first, span.last, statistics[span].solve() if span in statistics else None)
        for span in spans
    }
    return _halve(model, held_out, bypasses, n_threads, progress)


def _halve(
    model: Model,
    held_out: Tokens,
    bypasses: dict[Span, Bypass],
    n_threads: int | None,
    progress: StageProgress | None,
) -> Span:
    """Successive halving: few windows for all candidates, all windows for the last ones."""
    candidates = list(bypasses)
    sums = dict.fromkeys(candidates, 0.0)
    start, n_windows = 0, _FIRST_ROUND_WINDOWS
    while len(candidates) > 1 and start < len(held_out):
        part = held_out[start : start + n_windows]
        for done, span in enumerate(candidates, 1):
            sums[span] += len(part) * mean_nll(model, part, [bypasses[span]], n_threads=n_threads)
            if progress is not None:
                progress("comparing windows of blocks", done, len(candidates))
        candidates = sorted(candidates, key=sums.__getitem__)[: max(1, len(candidates) // _KEPT_ONE_IN)]
        start, n_windows = start + n_windows, n_windows * _GROWTH
    return min(candidates, key=sums.__getitem__)


def greedy(
    model: Model,
    windows: Tokens,
    n_removed: int,
    protection: Protection,
    *,
    n_threads: int | None = None,
    progress: StageProgress | None = None,
) -> tuple[int, ...]:
    """Removes the block whose loss costs least, again and again (SLEB, arXiv 2402.09025).

    Raises:
        UsageError: the protection leaves too few blocks.
        NotEnoughMemoryError: no room for the context.
    """
    check_protection(protection, model.n_layer, n_removed)
    removed: list[int] = []
    for number in range(1, n_removed + 1):
        rest = [block for block in protection.allowed(model.n_layer) if block not in removed]
        losses = {}
        for done, block in enumerate(rest, 1):
            bypasses = [Bypass(span.first, span.last) for span in spans_of([*removed, block])]
            losses[block] = mean_nll(model, windows, bypasses, n_threads=n_threads)
            if progress is not None:
                progress(f"choosing block {number} of {n_removed}", done, len(rest))
        removed.append(min(rest, key=losses.__getitem__))
    return tuple(sorted(removed))


def choose_by_activations(
    model: Model,
    windows: Tokens,
    criterion: Criterion,
    n_removed: int,
    protection: Protection,
    *,
    n_threads: int | None = None,
    progress: StageProgress | None = None,
) -> tuple[int, ...]:
    """The blocks to remove by a criterion that scores each block once, on these windows.

    Raises:
        UsageError: the protection leaves too few blocks.
        NotEnoughMemoryError: no room for the context.
    """
    check_protection(protection, model.n_layer, n_removed)
    report = stage_of(progress, "scoring blocks")
    allowed = protection.allowed(model.n_layer)
    match criterion:
        case Criterion.PPL | Criterion.KL:
            measure: Literal["ppl", "kl"] = "ppl" if criterion is Criterion.PPL else "kl"
            scores = score_blocks(model, windows, measure=measure, n_threads=n_threads, progress=report)
        case Criterion.BLOCK_INFLUENCE:
            scores = block_influence(model, windows, n_threads=n_threads, progress=report)
        case Criterion.ANGULAR:
            distances = angular_distances(model, windows, n_threads=n_threads, progress=report)
            return closest_span(distances, n_removed, allowed)
        case _:
            raise ValueError(f"{criterion} does not score blocks by activations")
    return lowest(scores, n_removed, allowed)
