"""Distillation: the last blocks of a small model learn what a larger one says, in numpy, on a CPU.

The loss is the cross-entropy with the larger model's own probabilities (Hinton et al., arXiv 1503.02531), on text that
it wrote (DistillSpec, arXiv 2310.08461). What the blocks before compute does not change, so llama.cpp computes it
once; trained are the last blocks and the norm after them, by Adam (arXiv 1412.6980). The embedding and output
matrices stay: a model's word list and its copies go by their rows.

In memory are the trained blocks four times (weights, gradients, two moments) and the output rows of the words that
the lessons name, in single precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import output_name, planned_weights
from quant.numeric.gradients import RmsNorm, block_backward, zeros_like
from quant.numeric.residual_stream import Matrix, StreamSettings, read_block, read_settings, run_block

Ints = NDArray[np.int32]

_DECAYS: Final = (0.9, 0.98)
_EPSILON: Final = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Exercise:
    """A text as the trained blocks meet it."""

    stream: Matrix
    """Before the first of them, (n, n_embd)."""
    first: int
    """The row that is to say the answer's first token."""
    words: Ints
    """(n - first, k) places in the list of words: what the larger model may say."""
    shares: Matrix
    """Its probabilities of these, each row's sum is 1."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How it is trained."""

    learning_rate: float = 3e-5
    n_epochs: int = 1
    """Readings of all lessons. A second one taught a 0.5B model 9,000 tokens by heart (docs/tune.md)."""
    tokens_per_step: int = 1024
    warm_up: float = 0.1
    """Share of the steps in which the rate rises."""


@dataclass(slots=True, eq=False)
class Student:
    """The trained part of a model.

    Args:
        plan: The model; of an architecture that `quant.numeric.gradients` knows.
        n_blocks: How many of its last blocks are trained.
        listed: Ids of the words that it is scored on, ascending.
    """

    plan: GgufPlan
    n_blocks: int
    listed: Ints
    settings: StreamSettings = field(init=False)
    blocks: list[dict[str, Matrix]] = field(init=False)
    norm: Matrix = field(init=False)
    head: Matrix = field(init=False)

    def __post_init__(self) -> None:
        self.settings = read_settings(self.plan)
        self.blocks = [
            {name: np.array(weight) for name, weight in read_block(self.plan, number).items()}
            for number in range(self.first_block, self.settings.n_blocks)
        ]
        self.norm = np.array(planned_weights(self.plan, "output_norm.weight"))
        self.head = np.ascontiguousarray(planned_weights(self.plan, output_name(self.plan))[self.listed])

    @property
    def first_block(self) -> int:
        """Number of the first trained block."""
        return self.settings.n_blocks - self.n_blocks

    def loss(self, exercise: Exercise) -> tuple[float, float]:
        """Mean loss in nats, and the share of places where the likeliest word is the larger model's."""
        normed = RmsNorm(self.settings, self._streams(exercise)[-1][exercise.first :], self.norm)
        logits = normed.output @ self.head.T
        best = np.take_along_axis(exercise.words, exercise.shares.argmax(axis=1)[:, None], axis=1)[:, 0]
        right = float((logits.argmax(axis=1) == best).mean())
        return self._softmax_loss(logits, exercise), right

    def add_gradients(
        self, exercise: Exercise, weight: float, sums: Sequence[dict[str, Matrix]], of_norm: Matrix
    ) -> float:
        """Adds an exercise's gradients times `weight` to the sums.

        Returns:
            Its mean loss in nats.
        """
        streams = self._streams(exercise)
        normed = RmsNorm(self.settings, streams[-1][exercise.first :], self.norm)
        logits = normed.output @ self.head.T
        loss = self._softmax_loss(logits, exercise)
        rows = np.arange(len(logits))[:, None]
        logits[rows, exercise.words] -= exercise.shares
        logits *= np.float32(weight / len(logits))
        back, norm_gradient = normed.backward(np.asarray(logits @ self.head, np.float32))
        of_norm += norm_gradient
        gradient = np.zeros_like(exercise.stream)
        gradient[exercise.first :] = back
        for block, own, stream in zip(self.blocks[::-1], sums[::-1], streams[-2::-1], strict=True):
            gradient = block_backward(self.settings, block, own, stream, gradient)
        return loss

    def _streams(self, exercise: Exercise) -> list[Matrix]:
        streams = [exercise.stream]
        for block in self.blocks:
            streams.append(run_block(self.settings, block, streams[-1]))
        return streams

    @staticmethod
    def _softmax_loss(logits: Matrix, exercise: Exercise) -> float:
        """Mean cross-entropy; the logits become probabilities, in place."""
        logits -= logits.max(axis=1, keepdims=True)
        said = np.take_along_axis(logits, exercise.words, axis=1)
        np.exp(logits, out=logits)
        totals = logits.sum(axis=1, keepdims=True)
        logits /= totals
        return float(((np.log(totals) - said) * exercise.shares).sum(axis=1).mean())


class Adam:
    """Adam's moments for some arrays, and the step that they lead to."""

    def __init__(self, arrays: Sequence[Matrix]) -> None:
        self._arrays = arrays
        self._means = [np.zeros_like(one) for one in arrays]
        self._squares = [np.zeros_like(one) for one in arrays]
        self._count = 0

    def step(self, gradients: Sequence[Matrix], rate: float) -> None:
        """Moves the arrays against their gradients, which become scratch."""
        self._count += 1
        first, second = (1 - decay**self._count for decay in _DECAYS)
        parts = zip(self._arrays, gradients, self._means, self._squares, strict=True)
        for array, gradient, mean, square in parts:
            mean += np.float32(1 - _DECAYS[0]) * (gradient - mean)
            np.square(gradient, out=gradient)
            square += np.float32(1 - _DECAYS[1]) * (gradient - square)
            np.sqrt(square / np.float32(second), out=gradient)
            gradient += np.float32(_EPSILON)
            np.divide(mean, gradient, out=gradient)
            gradient *= np.float32(rate / first)
            array -= gradient


def train(
    student: Student,
    exercises: Sequence[Exercise],
    settings: TrainSettings,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[float]:
    """Trains the student on all exercises, several times, in an order that is always the same.

    Returns:
        The mean loss of each step, in nats.
    """
    batches = _batches(exercises, settings)
    optimizer = Adam(_arrays(student.blocks, student.norm))
    losses = []
    for number, batch in enumerate(batches):
        sums = [zeros_like(block) for block in student.blocks]
        of_norm = np.zeros_like(student.norm)
        total = sum(len(one.words) for one in batch)
        losses.append(
            sum(
                len(one.words) / total * student.add_gradients(one, len(one.words) / total, sums, of_norm)
                for one in batch
            )
        )
        optimizer.step(
            _arrays(sums, of_norm), settings.learning_rate * _schedule(number, len(batches), settings)
        )
        report(number + 1, len(batches))
    return losses


def _arrays(blocks: Sequence[dict[str, Matrix]], norm: Matrix) -> list[Matrix]:
    return [array for block in blocks for array in block.values()] + [norm]


def _batches(exercises: Sequence[Exercise], settings: TrainSettings) -> list[list[Exercise]]:
    order = np.random.default_rng(1)
    batches: list[list[Exercise]] = []
    for _ in range(settings.n_epochs):
        batch: list[Exercise] = []
        for place in order.permutation(len(exercises)).tolist():
            batch.append(exercises[place])
            if sum(len(one.words) for one in batch) >= settings.tokens_per_step:
                batches.append(batch)
                batch = []
        if batch:
            batches.append(batch)
    return batches


def _schedule(step: int, total: int, settings: TrainSettings) -> float:
    """Up in a line, then down along half a cosine."""
    rise = max(settings.warm_up * total, 1.0)
    if step < rise:
        return (step + 1) / rise
    return 0.5 + 0.5 * float(np.cos(np.pi * (step - rise) / max(total - rise, 1.0)))
