"""Method depth: whole blocks leave, by every published criterion under its name or by their own trial.

With `narrow` and `drop_attention` the blocks that stay lose neurons and attention besides.
"""

from dataclasses import replace
from typing import Final

from edgespec.llama.model import Model
from edgespec.progress import Progress
from quant.gguf.plan import copy_of
from quant.measure.ablation import score_blocks
from quant.prune.amount import BlockAmount
from quant.prune.block_importance import (
    angular_distances,
    block_influence,
    closest_span,
    lowest,
    magnitudes,
    taylor,
)
from quant.prune.block_search import best_window, greedy
from quant.prune.blocks import remove_blocks
from quant.prune.choices import Criterion
from quant.prune.flap import Fluctuation
from quant.prune.run import PruneRun
from quant.prune.selection import Selection
from quant.prune.width_choice import choose_widths, whole_blocks, without_attention
from quant.text.calibration import Calibration
from quant.text.windows import Tokens, short_windows

_FOLD_WINDOWS: Final = 8
"""Of the fit text, for the folds of the search: the 4,096 tokens that a fold needs (`quant.prune.fold.fold_statistics`)."""
_SCORE_WINDOWS: Final = 4
"""Of the fit text, for the published criteria: 2,048 tokens, where they took 1,280."""
_GREEDY_WINDOWS: Final = 1
"""Of the fit text: it is read once for every block that could leave, anew after every one that does."""
_ATTENTION_WINDOWS: Final = 2
"""Of the fit text: one evaluation of the model for every block and window."""
_TAYLOR_WINDOWS: Final = (10, 128)
"""Windows and their tokens in the published script (Shortened LLaMA)."""


def choose(run: PruneRun) -> Selection:
    """The blocks that count least, and what leaves those that stay.

    Raises:
        UsageError: an architecture without a gradient, or without widths that can be cut.
        NotEnoughMemoryError: the model or a context does not fit.
    """
    removed = choose_blocks(run)
    return _choose_inside(run, removed) if run.settings.removes_inside_blocks else Selection(removed)


def choose_blocks(run: PruneRun) -> tuple[int, ...]:
    """The whole blocks that leave, ascending: those that are named, or those that the criterion finds.

    Raises:
        UsageError: an architecture without a gradient.
        NotEnoughMemoryError: the model or a context does not fit.
    """
    amount, fit = run.plan.block_amount, run.calibration.fit
    if amount is None:
        return run.plan.named_blocks
    match run.settings.block_criterion:
        case Criterion.MAGNITUDE:
            return lowest(magnitudes(run.dense), amount)
        case Criterion.TAYLOR:
            scores = taylor(run.dense, short_windows(fit, *_TAYLOR_WINDOWS), progress=run.progress)
            return lowest(scores, amount)
        case Criterion.WINDOW:
            text = replace(run.calibration, fit=fit[:_FOLD_WINDOWS])
            with run.open_model(run.plan.dense) as model:
                span = best_window(model, text, amount, folds=run.plan.repairs, progress=run.progress)
            return tuple(span.blocks)
        case Criterion.GREEDY:
            with run.open_model(run.plan.dense) as model:
                return greedy(model, fit[:_GREEDY_WINDOWS], amount, progress=run.progress)
        case criterion:
            with run.open_model(run.plan.dense) as model:
                return choose_by_activations(
                    model, fit[:_SCORE_WINDOWS], criterion, amount, progress=run.progress
                )


def choose_by_activations(
    model: Model, windows: Tokens, criterion: Criterion, amount: BlockAmount, *, progress: Progress
) -> tuple[int, ...]:
    """The blocks to remove by a criterion that scores each block once, ascending.

    Args:
        model: The dense model, on the CPU.
        windows: `[n_windows, n_ctx]` tokens that are read.
        criterion: PPL, KL, BLOCK_INFLUENCE or ANGULAR.
        amount: How many leave, and which may.
        progress: Gets the stage "scoring blocks".

    Raises:
        NotEnoughMemoryError: the context does not fit.
        ValueError: another criterion.
    """
    match criterion:
        case Criterion.PPL:
            scores = score_blocks(model, windows, measure="ppl", progress=progress)
        case Criterion.KL:
            scores = score_blocks(model, windows, measure="kl", progress=progress)
        case Criterion.BLOCK_INFLUENCE:
            scores = block_influence(model, windows, progress=progress)
        case Criterion.ANGULAR:
            distances = angular_distances(model, windows, progress=progress)
            return tuple(closest_span(distances, amount).blocks)
        case _:
            raise ValueError(f"{criterion} does not score blocks by activations")
    return lowest(scores, amount)


def _choose_inside(run: PruneRun, removed: tuple[int, ...]) -> Selection:
    """The same blocks, and attention and neurons of the others; what these added on average stays as a bias."""
    shallow = run.write_scratch(remove_blocks(run.dense, removed), "shallow.gguf")
    gguf, text = copy_of(shallow), run.calibration
    with run.open_model(shallow) as model:
        silent = least_attention(model, text, run.settings.drop_attention or 0, run.progress)
        found = Fluctuation.measure(model, gguf, text.fit, progress=run.progress)
    widths, amount = whole_blocks(found.shape), run.plan.width_amount
    if amount is not None:
        widths = choose_widths(found.shape, found.scores(), amount, run.settings.width_structure)
    widths = without_attention(widths, silent)
    return Selection(removed, widths, found.biases(widths))


def least_attention(model: Model, text: Calibration, n_removed: int, progress: Progress) -> tuple[int, ...]:
    """The blocks whose attention the model misses least, by KL divergence, each on its own, ascending.

    The first block keeps its attention: there llama.cpp looks for the width of heads.

    Args:
        model: The dense model, on the CPU.
        text: The first two windows of its fit text are read.
        n_removed: How many blocks lose their attention.
        progress: Gets the stage "scoring blocks", unless none does.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    if not n_removed:
        return ()
    windows = text.fit[:_ATTENTION_WINDOWS]
    scores = score_blocks(model, windows, measure="kl", part="attention", progress=progress)
    return lowest(scores, BlockAmount(n_removed, range(1, model.n_layer)))
