"""FLAP: heads and neurons whose inputs hardly fluctuate become a bias (arXiv 2312.11983, AAAI 2024).

The metric of an input column j of `attn_output` or `ffn_down` is the variance of the input times the squared norm of
the weight's column (WIFV). Attention's is squared once more, and each module's is brought to mean 0 and deviation 1
in its block, so that one ranking serves the whole model (structure "AL-AM"; quant/prune/width_choice.py has the others).
Under grouped-query attention the unit is a KV group, priced at its weights.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import planned_weights
from quant.measure.activations import Moments
from quant.prune.width import BlockWidth, Matrix, ModelShape
from quant.prune.width_choice import Scores

_MODULES: Final = ("attn_output", "ffn_down")


def watched_weights(shape: ModelShape) -> list[str]:
    """The weights whose inputs are needed."""
    return [f"blk.{block}.{name}.weight" for block in range(shape.n_blocks) for name in _MODULES]


def wifv_scores(plan: GgufPlan, shape: ModelShape, moments: Mapping[str, Moments]) -> Scores:
    """FLAP's own scores, from the moments of `watched_weights`."""
    return _scores(plan, shape, {name: found.variance for name, found in moments.items()})


def magnitude_scores(plan: GgufPlan, shape: ModelShape) -> Scores:
    """The same ranking by the weights' columns alone, for comparison."""
    ones = {name: np.ones(1) for name in watched_weights(shape)}
    return _scores(plan, shape, ones)


def biases(
    plan: GgufPlan, shape: ModelShape, cut: Sequence[BlockWidth], moments: Mapping[str, Moments]
) -> dict[str, Matrix]:
    """What the removed columns added on average, by projection: W[:, removed] mean[removed].

    A block that lost its attention adds what that brought with its FFN.
    """
    group_width = shape.n_head // shape.n_head_kv * shape.head_dim
    result: dict[str, Matrix] = {}
    for number, block in enumerate(cut):
        kept = {
            "attn_output": (block.kv_groups[:, None] * group_width + np.arange(group_width)).reshape(-1),
            "ffn_down": block.neurons,
        }
        for name, columns in kept.items():
            weight = f"blk.{number}.{name}.weight"
            mean = moments[weight].mean.copy()
            if len(columns) < len(mean):
                mean[columns] = 0
                target = f"blk.{number}.{name if len(block.kv_groups) else 'ffn_down'}"
                bias = planned_weights(plan, weight) @ mean.astype(np.float32)
                result[target] = result.get(target, np.float32(0)) + bias
    return result


def _scores(plan: GgufPlan, shape: ModelShape, fluctuations: Mapping[str, NDArray[np.float64]]) -> Scores:
    groups, neurons = [], []
    for block in range(shape.n_blocks):
        metrics = []
        for module in _MODULES:
            name = f"blk.{block}.{module}.weight"
            norms = np.square(planned_weights(plan, name)).sum(axis=0, dtype=np.float64)
            metrics.append(fluctuations[name] * norms)
        groups.append(_standardized(metrics[0] ** 2).reshape(shape.n_head_kv, -1).mean(axis=1))
        neurons.append(_standardized(metrics[1]))
    return Scores(np.array(groups), np.array(neurons))


def _standardized(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = values.std(ddof=1)
    return np.asarray((values - values.mean()) / (deviation if deviation else 1))
