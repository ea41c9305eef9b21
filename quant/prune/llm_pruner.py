"""Method llm-pruner: heads and neurons by what the loss says of their weights (LLM-Pruner, arXiv 2305.11627).

A unit is all that hangs together: a KV group with its queries, keys, values and columns of the output, or a neuron with
its rows of gate and up and its column of down. Its importance is the sum, over its rows and columns, of one of four
figures (LLMPruner/pruner/hf_llama_pruner.py), with g the gradient of the mean loss on 10 x 64 tokens and F the mean
over the samples of their squared gradients. Local choice cuts the same share from every block but the first 4 and the
last 2, as in the published script for 32 blocks, raised so that the whole model loses what was asked for.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.progress import SILENT, Progress
from quant.gguf.plan import GgufPlan
from quant.numeric.gradients import BlockGradients, loss_gradients
from quant.prune.choices import Importance
from quant.prune.run import PruneRun
from quant.prune.selection import Selection
from quant.prune.shape import ModelShape, read_shape
from quant.prune.width_choice import Scores, choose_widths
from quant.text.windows import Tokens, short_windows

_GRADIENT_WINDOWS: Final = (10, 64)
"""Windows and their tokens in the published script."""

_ROWS: Final = ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up")
_COLUMNS: Final = ("attn_output", "ffn_down")


def choose(run: PruneRun) -> Selection:
    """The heads and neurons that change the loss least leave.

    Raises:
        UsageError: an architecture without a gradient, or a ratio out of reach.
    """
    amount, settings = run.plan.width_amount, run.settings
    assert amount is not None, "the plan of this method has one"
    shape = read_shape(run.dense)
    windows = short_windows(run.calibration.fit, *_GRADIENT_WINDOWS)
    scores = importance_scores(run.dense, shape, windows, settings.weight_importance, progress=run.progress)
    if settings.width_structure == "adaptive":
        scores = per_weight(shape, scores)
    return Selection((), choose_widths(shape, scores, amount, settings.width_structure))


def importance_scores(
    plan: GgufPlan,
    shape: ModelShape,
    windows: Tokens,
    importance: Importance = Importance.ELEMENT,
    *,
    progress: Progress = SILENT,
) -> Scores:
    """The importance of every unit.

    Args:
        plan: The dense model.
        shape: Of it.
        windows: `[n_windows, n_ctx]` tokens; each is a sample.
        importance: How a unit's weights are put together.
        progress: Gets the stage "computing gradients".

    Raises:
        UsageError: an architecture without a gradient.
    """
    scores = Scores(np.zeros((shape.n_blocks, shape.n_head_kv)), np.zeros((shape.n_blocks, shape.n_ff)))

    def visit(block: BlockGradients) -> None:
        rows = {name: _unit_sums(block, name, 1, importance) for name in _ROWS}
        columns = {name: _unit_sums(block, name, 0, importance) for name in _COLUMNS}
        scores.groups[block.number] = sum(
            part.reshape(shape.n_head_kv, -1).sum(axis=1)
            for part in (rows["attn_q"], rows["attn_k"], rows["attn_v"], columns["attn_output"])
        )
        scores.neurons[block.number] = rows["ffn_gate"] + rows["ffn_up"] + columns["ffn_down"]

    loss_gradients(plan, windows, visit, squares=importance.wants_squares, progress=progress)
    return scores


def per_weight(shape: ModelShape, scores: Scores) -> Scores:
    """Scores divided by the units' sizes: what a ranking of heads against neurons needs."""
    return Scores(scores.groups / shape.group_parameters, scores.neurons / shape.neuron_parameters)


def _unit_sums(block: BlockGradients, name: str, axis: int, importance: Importance) -> NDArray[np.float64]:
    """The figure of each row (axis 1) or column (axis 0) of a matrix, `[n]`."""
    key = f"{name}.weight"
    weight, gradient = block.weights[key], block.gradients[key]
    values = weight * gradient
    if importance is Importance.SECOND:
        values = np.square(weight) * block.squares[key]
    elif importance is Importance.MIXED:
        values -= np.square(weight) * block.squares[key] / 2
    if importance is Importance.VECTOR:
        return np.asarray(np.abs(values.sum(axis=axis, dtype=np.float64)))
    return np.asarray(np.abs(values).sum(axis=axis, dtype=np.float64))
