"""FLAP: heads and neurons whose inputs hardly fluctuate become a bias (arXiv 2312.11983, AAAI 2024).

The metric of an input column j of `attn_output` or `ffn_down` is the variance of the input times the squared norm of
the weight's column (WIFV). Attention's is squared once more, and each module's is brought to mean 0 and deviation 1
in its block, so that one ranking serves the whole model (structure "AL-AM"). Under grouped-query attention the unit
is a KV group, priced at its weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import UsageError
from quant.activations import Moments
from quant.container import GgufPlan
from quant.tensors import planned_weights
from quant.width import BlockWidth, Matrix, ModelShape

Structure = Literal["adaptive", "uniform"]
"""`adaptive` ranks all blocks together (AL-AM), `uniform` cuts every block and module by the same share (UL-UM)."""

_MODULES: Final = ("attn_output", "ffn_down")


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """How much units count, comparable over the whole model."""

    groups: NDArray[np.float64]
    """(n_blocks, n_head_kv)."""
    neurons: NDArray[np.float64]
    """(n_blocks, n_ff)."""


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


def cut_lowest(
    shape: ModelShape, scores: Scores, ratio: float, structure: Structure = "adaptive"
) -> tuple[BlockWidth, ...]:
    """Keeps the units with the highest scores.

    Args:
        shape: Of the dense model.
        scores: Of its units.
        ratio: Share of the blocks' weights to remove, 0 to 1.
        structure: Over all blocks, or in each block alike.

    Raises:
        UsageError: a ratio that leaves nothing.
    """
    if not 0 < ratio < 1:
        raise UsageError(f"a ratio of {ratio:g} removes nothing or everything", "use one between 0 and 1")
    budget = (1 - ratio) * shape.block_parameters
    if structure == "uniform":
        n_groups = max(1, shape.n_head_kv - int(ratio * shape.n_head_kv))
        ranked = np.argsort(-scores.groups, axis=1, kind="stable")[:, :n_groups]
        groups_kept = np.zeros(scores.groups.shape, np.bool_)
        np.put_along_axis(groups_kept, ranked, True, axis=1)
        left = budget - n_groups * shape.group_parameters
        widths = np.full(shape.n_blocks, _multiple(shape, left / shape.neuron_parameters))
    else:
        groups_kept, neurons_kept = _keep(shape, scores.groups, scores.neurons, budget * shape.n_blocks)
        left = budget * shape.n_blocks - groups_kept.sum() * shape.group_parameters
        widths = _rounded(shape, neurons_kept.sum(axis=1), left / shape.neuron_parameters)
    least = shape.n_blocks * (shape.group_parameters + shape.neuron_multiple * shape.neuron_parameters)
    if budget * shape.n_blocks < least:
        raise UsageError(
            f"a ratio of {ratio:g} leaves less than a head and {shape.neuron_multiple} neurons in every block",
            f"use one below {1 - least / shape.n_blocks / shape.block_parameters:.2f}",
        )
    return tuple(
        BlockWidth(np.flatnonzero(groups_kept[block]), _highest(scores.neurons[block], int(widths[block])))
        for block in range(shape.n_blocks)
    )


def biases(
    plan: GgufPlan, shape: ModelShape, cut: Sequence[BlockWidth], moments: Mapping[str, Moments]
) -> dict[str, Matrix]:
    """What the removed columns added on average, by projection: W[:, removed] mean[removed]."""
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
                result[f"blk.{number}.{name}"] = planned_weights(plan, weight) @ mean.astype(np.float32)
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


def _keep(
    shape: ModelShape, groups: NDArray[np.float64], neurons: NDArray[np.float64], budget: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The highest scores whose weights come closest to the budget; every block keeps its best group."""
    scores = np.concatenate([groups.reshape(-1), neurons.reshape(-1)])
    costs = np.concatenate(
        [np.full(groups.size, shape.group_parameters), np.full(neurons.size, shape.neuron_parameters)]
    )
    best = np.arange(len(groups)) * groups.shape[1] + groups.argmax(axis=1)
    scores[best] = np.inf
    order = np.argsort(-scores, kind="stable")
    n_kept = int(np.abs(np.cumsum(costs[order]) - budget).argmin()) + 1
    kept = np.zeros(len(scores), np.bool_)
    kept[order[:n_kept]] = True
    kept[best] = True
    return kept[: groups.size].reshape(groups.shape), kept[groups.size :].reshape(neurons.shape)


def _rounded(shape: ModelShape, widths: NDArray[np.int64], total: float) -> NDArray[np.int64]:
    """Widths that are whole multiples and come closest to `total` neurons together: largest remainders go up."""
    step = shape.neuron_multiple
    steps = np.maximum(widths // step, 1)
    missing = round(total / step) - int(steps.sum())
    order = np.argsort(-(widths / step - steps), kind="stable")
    for number in range(abs(missing)):
        index = order[number % len(order)] if missing > 0 else order[-1 - number % len(order)]
        steps[index] = min(max(1, steps[index] + np.sign(missing)), shape.n_ff // step)
    return np.asarray(steps * step)


def _multiple(shape: ModelShape, width: float) -> int:
    step = shape.neuron_multiple
    return max(step, round(width / step) * step)


def _highest(scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    return np.sort(np.argsort(-scores, kind="stable")[:count])
