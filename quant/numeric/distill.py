"""Distillation: the last blocks of a small model learn what a larger one says, in numpy, on a CPU.

The loss is the cross-entropy with the larger model's own probabilities (Hinton et al., arXiv 1503.02531), on text that
it wrote (DistillSpec, arXiv 2310.08461). What the blocks before compute does not change, so llama.cpp computes it
once; trained are the last blocks and the norm after them, by Adam (arXiv 1412.6980). The embedding and output
matrices stay: a model's word list and its copies go by their rows.

In memory are the trained blocks four times (weights, gradients, two moments) and the output rows of the words that
the exercises name, in single precision.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.progress import SILENT, Progress
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import output_name, planned_weights
from quant.numeric.backward import RmsNorm, block_backward, zeros_like
from quant.numeric.residual_stream import BlockSettings, Matrix, read_block, read_settings, run_block

Ints = NDArray[np.int32]

_DECAYS: Final = (0.9, 0.98)
"""Of the mean and of the squares, as in "Attention Is All You Need" (arXiv 1706.03762, 5.3)."""
_EPSILON: Final = 1e-8
"""Adam's own."""


@dataclass(frozen=True, slots=True, eq=False)
class Exercise:
    """A text as the trained blocks meet it."""

    residual: Matrix
    """Before the first of them, `[n, n_embd]`."""
    first: int
    """The row that is to say the answer's first token."""
    words: Ints
    """What the larger model may say: places in the list of words, `[n - first, k]`."""
    shares: Matrix
    """Its probabilities of these, `[n - first, k]`; each row's sum is 1."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How it is trained."""

    learning_rate: float = 3e-5
    n_epochs: int = 1
    """Readings of all exercises. At a second one a 0.5B model learnt 9,000 tokens by heart (docs/tune.md)."""
    tokens_per_step: int = 1024
    warm_up: float = 0.1
    """Share of the steps in which the rate rises."""


@dataclass(slots=True, eq=False)
class Student:
    """The trained part of a model.

    Args:
        plan: The model; of an architecture that `quant.numeric.backward` knows.
        n_blocks: How many of its last blocks are trained.
        listed: Ids of the words that it is scored on, ascending, `[n_listed]`.

    Raises:
        UsageError: an architecture that is not computed block by block.
    """

    plan: GgufPlan
    n_blocks: int
    listed: Ints
    settings: BlockSettings = field(init=False)
    blocks: list[dict[str, Matrix]] = field(init=False)
    """The trained ones' weights, by name without `blk.N.`; training changes them in place."""
    norm: Matrix = field(init=False)
    """Of the output, `[n_embd]`; trained too."""
    head: Matrix = field(init=False)
    """Rows of the output matrix, `[n_listed, n_embd]`."""

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
        normed = RmsNorm(self.settings, self._residuals(exercise)[-1][exercise.first :], self.norm)
        logits = normed.output @ self.head.T
        best = np.take_along_axis(exercise.words, exercise.shares.argmax(axis=1)[:, None], axis=1)[:, 0]
        right = float((logits.argmax(axis=1) == best).mean())
        return self._softmax_loss(logits, exercise), right

    def add_gradients(
        self, exercise: Exercise, weight: float, sums: Sequence[dict[str, Matrix]], of_norm: Matrix
    ) -> float:
        """Adds an exercise's gradients times `weight` to the sums.

        Args:
            exercise: What is read.
            weight: Its share of the step's tokens.
            sums: Of the trained blocks' weights, in their shapes.
            of_norm: Of the output's norm, `[n_embd]`.

        Returns:
            Its mean loss in nats.

        Raises:
            UsageError: blocks with normalized queries.
        """
        residuals = self._residuals(exercise)
        normed = RmsNorm(self.settings, residuals[-1][exercise.first :], self.norm)
        logits = normed.output @ self.head.T
        loss = self._softmax_loss(logits, exercise)
        rows = np.arange(len(logits))[:, None]
        logits[rows, exercise.words] -= exercise.shares
        logits *= np.float32(weight / len(logits))
        back, norm_gradient = normed.backward(np.asarray(logits @ self.head, np.float32))
        of_norm += norm_gradient
        gradient = np.zeros_like(exercise.residual)
        gradient[exercise.first :] = back
        for block, own, residual in zip(self.blocks[::-1], sums[::-1], residuals[-2::-1], strict=True):
            gradient = block_backward(self.settings, block, own, residual, gradient)
        return loss

    def _residuals(self, exercise: Exercise) -> list[Matrix]:
        """Before each trained block and after the last, `[n, n_embd]` each."""
        residuals = [exercise.residual]
        for block in self.blocks:
            residuals.append(run_block(self.settings, block, residuals[-1]))
        return residuals

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
    """Adam's moments for some arrays, and the step that they lead to (arXiv 1412.6980, algorithm 1)."""

    def __init__(self, arrays: Sequence[Matrix]) -> None:
        self._arrays = arrays
        self._means = [np.zeros_like(one) for one in arrays]
        self._squares = [np.zeros_like(one) for one in arrays]
        self._count = 0

    def step(self, gradients: Sequence[Matrix], rate: float) -> None:
        """Moves the arrays against their gradients.

        Args:
            gradients: One for each array, in its shape; they become scratch.
            rate: How far, as the published `alpha`.
        """
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
    *,
    progress: Progress = SILENT,
) -> list[float]:
    """Trains the student on all exercises, several times, in an order that is always the same.

    Args:
        student: Its weights change in place.
        exercises: What it reads.
        settings: How.
        progress: Gets the stage "training the draft", in steps.

    Returns:
        The mean loss of each step, in nats.

    Raises:
        UsageError: blocks with normalized queries.
    """
    batches = _batches(exercises, settings)
    progress.stage("training the draft", len(batches))
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
        progress.advance()
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
