"""Training the last blocks: gradients against finite differences, and losses that fall."""

import numpy as np
import pytest

from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import planned_weights
from quant.numeric.backward import zeros_like
from quant.numeric.distill import Exercise, Student, TrainSettings, train
from quant.numeric.residual_stream import embed, read_block, read_settings, run_block
from tests.recorded_progress import RecordedProgress, Stage

LISTED = np.arange(3, 240, dtype=np.int32)


def exercises(plan: GgufPlan, count: int) -> list[Exercise]:
    """Texts of 14 tokens as block 1 meets them, and made-up opinions about the last nine."""
    rng = np.random.default_rng(7)
    tokens = rng.integers(5, 250, (count, 14)).astype(np.int32)
    settings, weights = read_settings(plan), read_block(plan, 0)
    found = []
    for residual in embed(plan, tokens):
        shares = rng.random((9, 4)).astype(np.float32)
        found.append(
            Exercise(
                run_block(settings, weights, residual),
                5,
                np.stack([rng.permutation(len(LISTED))[:4] for _ in range(9)]).astype(np.int32),
                shares / shares.sum(axis=1, keepdims=True),
            )
        )
    return found


def test_the_loss_is_the_cross_entropy_over_the_listed_words(plan: GgufPlan):
    student, exercise = Student(plan, 2, LISTED), exercises(plan, 1)[0]
    settings, residual = read_settings(plan), exercise.residual
    for number in (1, 2):
        residual = run_block(settings, read_block(plan, number), residual)
    rows = residual[5:].astype(np.float64)
    rows /= np.sqrt((rows**2).mean(axis=1, keepdims=True) + settings.norm_epsilon)
    rows *= planned_weights(plan, "output_norm.weight")
    logits = rows @ planned_weights(plan, "output.weight")[LISTED].T.astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(exercise.shares * np.take_along_axis(logs, exercise.words, axis=1)).sum(axis=1).mean()
    assert student.loss(exercise)[0] == pytest.approx(expected, rel=1e-4)


def test_gradients_are_those_of_finite_differences(plan: GgufPlan):
    student, exercise = Student(plan, 2, LISTED), exercises(plan, 1)[0]
    sums = [zeros_like(block) for block in student.blocks]
    of_norm = np.zeros_like(student.norm)
    student.add_gradients(exercise, 1.0, sums, of_norm)
    rng = np.random.default_rng(3)
    watched = [(student.norm, of_norm)] + [
        (block[name], own[name]) for block, own in zip(student.blocks, sums, strict=True) for name in block
    ]
    for array, gradient in watched:
        direction = rng.standard_normal(array.shape).astype(np.float32) * np.abs(array).mean()
        step = np.float32(2e-3)
        array += step * direction
        above = student.loss(exercise)[0]
        array -= 2 * step * direction
        below = student.loss(exercise)[0]
        array += step * direction
        expected = float((gradient * direction).sum())
        assert (above - below) / (2 * step) == pytest.approx(expected, rel=0.05, abs=2e-3)


def test_training_makes_the_texts_likelier_and_leaves_the_file_alone(plan: GgufPlan):
    student, known = Student(plan, 2, LISTED), exercises(plan, 6)
    before = [student.loss(one) for one in known]
    first_weights = planned_weights(plan, "blk.2.ffn_down.weight").copy()
    told = RecordedProgress()
    settings = TrainSettings(learning_rate=3e-3, n_epochs=12, tokens_per_step=20)
    losses = train(student, known, settings, progress=told)
    after = [student.loss(one) for one in known]
    assert np.mean([loss for loss, _ in after]) < 0.7 * np.mean([loss for loss, _ in before])
    assert np.mean([right for _, right in after]) > np.mean([right for _, right in before])
    assert losses[-1] < losses[0]
    # Six texts of nine tokens, three to a step, twelve times.
    assert told.stages == [Stage("training the draft", 24, "steps", 24)]
    assert len(losses) == 24
    np.testing.assert_array_equal(planned_weights(plan, "blk.2.ffn_down.weight"), first_weights)
