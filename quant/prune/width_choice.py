"""How wide every block becomes, once its heads and neurons have scores: ranked over the model, or all blocks alike.

FLAP's structures and LLM-Pruner's two ways of choosing are the same two: a ranking of all units at their price in
weights (AL-AM; `--global_pruning`), or one share for every block (UL-UM; local). A fixed number of KV groups that
leave gives FLAP's AL-MM and UL-MM; with none, only neurons leave.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import UsageError
from quant.prune.amount import WidthAmount
from quant.prune.choices import Structure
from quant.prune.shape import ModelShape
from quant.prune.width import BlockWidth


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """How much units count, comparable over the whole model."""

    groups: NDArray[np.float64]
    """Of KV groups, `[n_blocks, n_head_kv]`."""
    neurons: NDArray[np.float64]
    """`[n_blocks, n_ff]`."""

    @classmethod
    def alike(cls, shape: ModelShape) -> "Scores":
        """Every group counts as much as the others, and neurons rank alike in every block: for a plan's sizes."""
        neurons = np.tile(np.arange(shape.n_ff, dtype=np.float64), (shape.n_blocks, 1))
        return cls(np.ones((shape.n_blocks, shape.n_head_kv)), neurons)


def choose_widths(
    shape: ModelShape, scores: Scores, amount: WidthAmount, structure: Structure
) -> tuple[BlockWidth, ...]:
    """Keeps the units with the highest scores.

    Neurons of a block come in multiples of `shape.neuron_multiple`, and every block keeps a KV group.

    Args:
        shape: Of the dense model.
        scores: Of its units.
        amount: How much to remove.
        structure: Over all blocks, or in each block alike.

    Raises:
        UsageError: a ratio that leaves nothing, or more than the unprotected blocks can lose.
    """
    if not 0 < amount.ratio < 1:
        raise UsageError(
            f"a ratio of {amount.ratio:g} removes nothing or everything", "use one between 0 and 1"
        )
    inner = amount.protection.allowed(shape.n_blocks)
    _check_reach(shape, amount, inner)
    choose = _alike if structure == "uniform" else _ranked
    chosen = iter(choose(shape, scores, amount, inner))
    whole = whole_blocks(shape)
    return tuple(next(chosen) if number in inner else block for number, block in enumerate(whole))


def whole_blocks(shape: ModelShape) -> tuple[BlockWidth, ...]:
    """Every block as it is."""
    return (BlockWidth(np.arange(shape.n_head_kv), np.arange(shape.n_ff)),) * shape.n_blocks


def without_attention(kept: Sequence[BlockWidth], silent: Collection[int]) -> tuple[BlockWidth, ...]:
    """The same widths, but without any head in some blocks."""
    nothing = np.zeros(0, np.int64)
    return tuple(
        replace(block, kv_groups=nothing) if number in silent else block for number, block in enumerate(kept)
    )


def highest(scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The places of the `count` highest of `scores`, `[n]`, ascending; the first of equals.

    Of `[0.5, 2, 1, 2]` the two highest are `[1, 3]`.
    """
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def _check_reach(shape: ModelShape, amount: WidthAmount, inner: range) -> None:
    """Every block keeps a KV group and the fewest neurons that its types allow."""
    most = _most(shape, amount.n_groups, len(inner))
    if amount.n_groups and amount.n_groups >= shape.n_head_kv * max(1, len(inner)):
        raise UsageError(f"{amount.n_groups} KV groups cannot leave", "every block keeps one")
    if amount.ratio * shape.n_blocks * shape.block_parameters > most:
        protected = shape.n_blocks - len(inner)
        raise UsageError(
            f"a ratio of {amount.ratio:g} cannot be taken from {len(inner)} of {shape.n_blocks} blocks: it leaves "
            f"less than a head and {shape.neuron_multiple} neurons in each",
            f"use one below {most / shape.n_blocks / shape.block_parameters:.2f}"
            + (", or protect fewer blocks with `protect_first` and `protect_last`" if protected else ""),
        )


def _most(shape: ModelShape, n_groups: int | None, n_inner: int) -> float:
    groups = (shape.n_head_kv - 1) * shape.group_parameters if n_groups is None else 0
    neurons = (shape.n_ff - shape.neuron_multiple) * shape.neuron_parameters
    return float(n_inner * (groups + neurons))


def _alike(shape: ModelShape, scores: Scores, amount: WidthAmount, inner: range) -> tuple[BlockWidth, ...]:
    """The same share of every block in `inner`: whole KV groups up to the share, neurons for the rest."""
    local = amount.ratio * shape.n_blocks / len(inner)
    gone = int(local * shape.n_head_kv) if amount.n_groups is None else amount.n_groups
    n_groups = max(1, shape.n_head_kv - gone)
    left = (1 - local) * shape.block_parameters - n_groups * shape.group_parameters
    step = shape.neuron_multiple
    n_neurons = int(np.clip(round(left / shape.neuron_parameters / step), 1, shape.n_ff // step)) * step
    return tuple(
        BlockWidth(highest(scores.groups[block], n_groups), highest(scores.neurons[block], n_neurons))
        for block in inner
    )


def _ranked(shape: ModelShape, scores: Scores, amount: WidthAmount, inner: range) -> tuple[BlockWidth, ...]:
    """One ranking over the blocks in `inner`, until what is kept fits the weights that are to be left."""
    groups, neurons = scores.groups[inner.start : inner.stop], scores.neurons[inner.start : inner.stop]
    budget = len(inner) * shape.block_parameters - amount.ratio * shape.n_blocks * shape.block_parameters
    if amount.n_groups is None:
        groups_kept, neurons_kept = _kept_units(shape, groups, neurons, budget)
    else:
        groups_kept = _without_lowest(groups, amount.n_groups)
        free = np.full((len(inner), 0), 0.0)
        rest = budget - groups_kept.sum() * shape.group_parameters
        neurons_kept = _kept_units(shape, free, neurons, rest)[1]
    left = budget - groups_kept.sum() * shape.group_parameters
    widths = _rounded(shape, neurons_kept.sum(axis=1), left / shape.neuron_parameters)
    return tuple(
        BlockWidth(np.flatnonzero(kept), highest(of_block, int(width)))
        for kept, of_block, width in zip(groups_kept, neurons, widths, strict=True)
    )


def _kept_units(
    shape: ModelShape, groups: NDArray[np.float64], neurons: NDArray[np.float64], budget: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The highest scores whose weights come closest to the budget; every block keeps its best group.

    Args:
        shape: What a unit weighs.
        groups: Scores, `[n_inner, n_head_kv]`, or `[n_inner, 0]` where groups are chosen otherwise.
        neurons: Scores, `[n_inner, n_ff]`.
        budget: Weights that are to be left.

    Returns:
        Which groups and which neurons stay, in the shapes of their scores.
    """
    scores = np.concatenate([groups.reshape(-1), neurons.reshape(-1)])
    costs = np.concatenate(
        [np.full(groups.size, shape.group_parameters), np.full(neurons.size, shape.neuron_parameters)]
    )
    best = np.zeros(0, np.int64)
    if groups.size:
        best = np.arange(len(groups)) * groups.shape[1] + groups.argmax(axis=1)
    scores[best] = np.inf
    order = np.argsort(-scores, kind="stable")
    n_kept = int(np.abs(np.cumsum(costs[order]) - budget).argmin()) + 1
    kept = np.zeros(len(scores), np.bool_)
    kept[order[:n_kept]] = True
    kept[best] = True
    return kept[: groups.size].reshape(groups.shape), kept[groups.size :].reshape(neurons.shape)


def _without_lowest(groups: NDArray[np.float64], n_gone: int) -> NDArray[np.bool_]:
    """All but the lowest groups, of scores `[n_inner, n_head_kv]`; every block keeps its best."""
    scores = groups.copy()
    scores[np.arange(len(groups)), groups.argmax(axis=1)] = np.inf
    kept = np.ones(scores.size, np.bool_)
    kept[np.argsort(scores.reshape(-1), kind="stable")[:n_gone]] = False
    kept |= np.isinf(scores.reshape(-1))
    return kept.reshape(groups.shape)


def _rounded(shape: ModelShape, widths: NDArray[np.int64], total: float) -> NDArray[np.int64]:
    """Widths that are whole multiples and come closest to `total` neurons together: largest remainders go up.

    Widths `[70, 50, 40]` for multiples of 32 and 160 in all are `[64, 64, 32]`: of 5 steps each block gets its whole ones,
    2, 1 and 1, and the one that is missing goes to 50, which lost most.
    """
    step = shape.neuron_multiple
    steps = np.maximum(widths // step, 1)
    missing = round(total / step) - int(steps.sum())
    order = np.argsort(-(widths / step - steps), kind="stable")
    for number in range(abs(missing)):
        index = order[number % len(order)] if missing > 0 else order[-1 - number % len(order)]
        steps[index] = min(max(1, steps[index] + np.sign(missing)), shape.n_ff // step)
    return np.asarray(steps * step)
