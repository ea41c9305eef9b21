"""LLM-Pruner: heads and neurons by the first-order change of the loss (arXiv 2305.11627).

A unit is all that hangs together: a KV group with its queries, keys, values and columns of the output, or a neuron with
its rows of gate and up and its column of down. Its importance is the sum of |w g| over its weights ("param_first",
Element 1), or the absolute value of their sum ("vectorize", Vector), with g the gradient on 10 x 64 tokens. The same
ratio is cut from every block but the first 4 and the last 2, as in the published script for 32 blocks, raised so that
the whole model loses what was asked for.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import UsageError
from quant.backward import Gradients, loss_gradients
from quant.container import GgufPlan
from quant.evaluate import ChunkProgress, Tokens
from quant.flap import Scores
from quant.stream import BlockWeights
from quant.width import BlockWidth, ModelShape

GRADIENT_WINDOWS: Final = (10, 64)
"""Windows and their tokens in the published script."""
PROTECTED: Final = (4, 2)
Importance = Literal["param_first", "vectorize"]


def importance_scores(
    plan: GgufPlan,
    shape: ModelShape,
    windows: Tokens,
    importance: Importance = "param_first",
    *,
    progress: ChunkProgress | None = None,
) -> Scores:
    """The importance of every unit.

    Args:
        plan: The dense model.
        shape: Of it.
        windows: (n_windows, n_ctx) tokens.
        importance: How a unit's weights are put together.
        progress: Told about blocks, forwards and backwards.

    Raises:
        UsageError: an architecture without a gradient.
    """
    scores = Scores(np.zeros((shape.n_blocks, shape.n_head_kv)), np.zeros((shape.n_blocks, shape.n_ff)))

    def visit(block: int, weights: BlockWeights, gradients: Gradients) -> None:
        rows = {name: _unit_sums(weights, gradients, name, 1, importance) for name in _ROWS}
        columns = {name: _unit_sums(weights, gradients, name, 0, importance) for name in _COLUMNS}
        groups = sum(
            part.reshape(shape.n_head_kv, -1).sum(axis=1)
            for part in (rows["attn_q"], rows["attn_k"], rows["attn_v"], columns["attn_output"])
        )
        neurons = rows["ffn_gate"] + rows["ffn_up"] + columns["ffn_down"]
        scores.groups[block], scores.neurons[block] = np.abs(groups), np.abs(neurons)

    loss_gradients(plan, windows, visit, progress=progress)
    return scores


def cut_blocks_alike(shape: ModelShape, scores: Scores, ratio: float) -> tuple[BlockWidth, ...]:
    """The same cut in every block between the protected ends; heads are whole KV groups, neurons make up the rest.

    Raises:
        UsageError: more than these blocks can lose.
    """
    first, last = PROTECTED
    inner = range(first, shape.n_blocks - last)
    local = ratio * shape.n_blocks / max(1, len(inner))
    n_groups = shape.n_head_kv - int(local * shape.n_head_kv)
    left = (1 - local) * shape.block_parameters - n_groups * shape.group_parameters
    step = shape.neuron_multiple
    n_neurons = round(left / shape.neuron_parameters / step) * step
    if n_groups < 1 or n_neurons < step or local >= 1:
        raise UsageError(
            f"a ratio of {ratio:g} cannot be taken from {len(inner)} of {shape.n_blocks} blocks",
            f"remove less: the first {first} and the last {last} blocks stay whole",
        )
    whole = BlockWidth(np.arange(shape.n_head_kv), np.arange(shape.n_ff))
    return tuple(
        BlockWidth(_best(scores.groups[block], n_groups), _best(scores.neurons[block], n_neurons))
        if block in inner
        else whole
        for block in range(shape.n_blocks)
    )


_ROWS: Final = ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up")
_COLUMNS: Final = ("attn_output", "ffn_down")


def _unit_sums(
    weights: BlockWeights, gradients: Gradients, name: str, axis: int, importance: Importance
) -> NDArray[np.float64]:
    product = weights[f"{name}.weight"] * gradients[f"{name}.weight"]
    values = np.abs(product) if importance == "param_first" else product
    return np.asarray(values.sum(axis=axis, dtype=np.float64))


def _best(scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    return np.sort(np.argsort(-scores, kind="stable")[:count])
