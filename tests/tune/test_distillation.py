"""Distillation on tiny models: what is trained on, what it brings, and what the draft is written as."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.llama.model import Model
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.paths import derived_models_dir
from edgespec.tune.distillation import distilled_plan, find_or_make_distilled, make_exercises
from edgespec.tune.distillation_data import DistillationSample, write_distillation_data
from edgespec.tune.variants import PUBLISHED, TargetVariant
from quant.convert.quantize import quantize_model
from quant.gguf.plan import copy_of
from quant.gguf.recipe import read_recipe
from quant.gguf.tensors import planned_weights
from quant.gguf.writer import write_gguf
from quant.numeric.distill import Exercise, Student, TrainSettings, train
from tests.recorded_progress import RecordedProgress
from tests.tiny import TinyShape, make_tiny_model

pytestmark = pytest.mark.usefixtures("few_and_short_answers")

NAME = "blk.1.ffn_up.weight"
LISTED = np.arange(3, 240, dtype=np.int32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model in Q5_0, as small published ones often are, and its Q4_0 copy."""
    folder = tmp_path_factory.mktemp("distill")
    shape = TinyShape(blocks=2, embedding=64, heads=4, kv_heads=2, feed_forward=96)
    meta = read_metadata(make_tiny_model(folder / "whole.gguf", shape=shape))
    published, fast = folder / "published.gguf", folder / "fast.gguf"
    quantize_model(meta, QuantizeSettings("Q5_0", pure=True), published)
    quantize_model(read_metadata(published), QuantizeSettings("Q4_0", pure=True), fast)
    return published, fast


def test_the_smallest_change_moves_hardly_any_weight(files: tuple[Path, Path], tmp_path: Path):
    published, fast = files
    written = []
    for number, sign in enumerate((-1, 1)):
        student = Student(copy_of(read_metadata(published)), 1, LISTED)
        weight = student.blocks[0][NAME.removeprefix("blk.1.")]
        weight += np.float32(sign * 1e-6) * np.abs(weight).max()
        file = tmp_path / f"{number}.gguf"
        write_gguf(distilled_plan(fast, student), file)
        written.append(planned_weights(copy_of(read_metadata(file)), NAME))
    scale = np.abs(written[0]).mean()
    assert np.abs(written[1] - written[0]).mean() < 0.01 * scale
    # As near to the trained weights as four bits a weight can be.
    assert np.abs(written[1] - weight).mean() < 0.12 * scale


@pytest.fixture(scope="module")
def samples(few_and_short_answers: None, tiny_model: Path) -> list[DistillationSample]:
    with Model(tiny_model) as model:
        return write_distillation_data(model, 100, 1)


@pytest.fixture
def student(samples: list[DistillationSample], tiny_draft: Path) -> Student:
    """The last block of a draft whose weights are the target's with some noise."""
    listed = np.unique(np.concatenate([one.likeliest.ravel() for one in samples]))
    return Student(copy_of(read_metadata(tiny_draft)), 1, listed)


def test_the_trained_blocks_meet_every_token_but_the_last_and_learn_from_the_answer(
    samples: list[DistillationSample], student: Student, tiny_draft: Path
):
    progress = RecordedProgress()
    exercises = make_exercises(tiny_draft, student, samples, 1, progress)
    assert progress.find("reading distillation data") == [(len(samples), len(samples))]
    for sample, exercise in zip(samples, exercises, strict=True):
        assert exercise.residual.shape == (len(sample.tokens) - 1, 64)
        # The row of the question's last token is the one that says the answer's first.
        assert exercise.first == sample.n_prompt - 1
        assert len(exercise.residual) - exercise.first == sample.n_answered
        np.testing.assert_array_equal(student.listed[exercise.words], sample.likeliest)
        np.testing.assert_array_equal(exercise.shares, sample.probabilities)


def test_distillation_brings_the_draft_nearer_to_the_target_on_other_text_too(
    samples: list[DistillationSample], student: Student, tiny_draft: Path
):
    exercises = make_exercises(tiny_draft, student, samples, 1)
    seen, unseen = exercises[:-4], exercises[-4:]
    before = [_divergence(student, which) for which in (seen, unseen)]
    settings = TrainSettings(learning_rate=1e-3, n_epochs=4, tokens_per_step=128)
    losses = train(student, seen, settings)
    after = [_divergence(student, which) for which in (seen, unseen)]
    assert losses[-1] < losses[0]
    assert after[0] < 0.75 * before[0]
    # Not only by heart: the weights that it was made from by noise are the target's.
    assert after[1] < before[1]


def _divergence(student: Student, exercises: Sequence[Exercise]) -> float:
    """Mean KL divergence from the target's probabilities, in nats: the loss is that and the target's entropy."""
    entropies = [-(one.shares * np.log(one.shares)).sum(axis=1).mean() for one in exercises]
    losses = [student.loss(one)[0] for one in exercises]
    return float(np.mean(losses) - np.mean(entropies))


def _distill(published: Path, fast: Path, target: Path, progress: RecordedProgress) -> Path:
    variant = TargetVariant(PUBLISHED, target)
    return find_or_make_distilled(read_metadata(published), fast, variant, 1, lambda: True, progress)


def test_a_distilled_draft_differs_in_its_last_blocks_alone_and_says_how_it_was_made(
    files: tuple[Path, Path], tiny_model: Path
):
    published, fast = files
    made = read_metadata(_distill(published, fast, tiny_model, RecordedProgress()))
    step = read_recipe(made)["steps"][-1]
    assert (step["step"], step["blocks"]) == ("distill", 1)
    assert step["tokens"] >= 100
    before, after = copy_of(read_metadata(fast)), copy_of(made)
    first, last = "blk.0.ffn_up.weight", "blk.1.ffn_up.weight"
    np.testing.assert_array_equal(planned_weights(after, first), planned_weights(before, first))
    for name in (last, "output_norm.weight"):
        assert (planned_weights(after, name) != planned_weights(before, name)).any()
    with Model(made.path) as model:
        assert model.n_layer == 2


def test_a_distilled_draft_is_found_again_but_not_for_another_target(
    files: tuple[Path, Path], tiny_model: Path, tiny_draft: Path
):
    first, second, third = RecordedProgress(), RecordedProgress(), RecordedProgress()
    made = _distill(*files, tiny_model, first)
    written = made.stat().st_mtime_ns
    assert _distill(*files, tiny_model, second) == made
    assert made.stat().st_mtime_ns == written
    assert first.labels[0] == "writing distillation data"
    assert second.labels == []
    assert _distill(*files, tiny_draft, third) != made
    assert third.labels


@pytest.mark.parametrize(
    "stage", ["writing distillation data", "reading distillation data", "training the draft"]
)
def test_stopping_a_distillation_leaves_nothing_behind(
    files: tuple[Path, Path], tiny_model: Path, stage: str
):
    def stop(label: str) -> None:
        if label == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _distill(*files, tiny_model, RecordedProgress(stop))
    assert not derived_models_dir().exists() or list(derived_models_dir().iterdir()) == []
