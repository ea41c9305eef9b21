"""The target in another type: its file, its importance matrix, and how far it is from the published one."""

from pathlib import Path

import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.paths import derived_models_dir
from edgespec.tune.answers import Answers
from edgespec.tune.target_variants import TARGET_TYPES, packed_windows, requantized_target
from quant.convert.quantize import quantize_model
from quant.gguf.plan import copy_of
from quant.gguf.recipe import read_recipe
from quant.gguf.tensors import planned_weights
from tests.recorded_progress import RecordedProgress
from tests.tune.made_up import recording


def test_answers_are_packed_into_windows_one_after_the_other():
    first, second = recording(range(300), prompt=[7]), recording(range(300, 590), prompt=[8, 9])
    windows = packed_windows([first, second])
    assert windows.shape == (2, 256)
    assert windows.ravel().tolist() == [7, *range(300), 8, 9, *range(300, 590)][:512]


def test_too_few_answers_for_a_window_are_repeated_until_they_fill_it():
    windows = packed_windows([recording(range(99), prompt=[7])])
    assert windows.shape == (1, 256)
    assert windows[0, [0, 1, 100, 101]].tolist() == [7, 0, 7, 0]


@pytest.mark.parametrize(("label", "file_type"), [("Q4_0", "Q4_0"), ("Q4_K", "Q4_K_S")])
def test_a_target_is_rewritten_with_the_importance_that_its_own_answers_gave(
    tiny_model: Path, answers: Answers, tmp_path: Path, label: str, file_type: str
):
    made = requantized_target(read_metadata(tiny_model), label, answers)
    meta = read_metadata(made.path)
    step = read_recipe(meta)["steps"][-1]
    assert (step["type"], step["importance"]) == (file_type, "the model's own answers")
    plainly = tmp_path / "plainly.gguf"
    quantize_model(read_metadata(tiny_model), TARGET_TYPES[label], plainly)
    name = "blk.0.ffn_down.weight"
    weights, others = (planned_weights(copy_of(one), name) for one in (meta, read_metadata(plainly)))
    assert (weights != others).any()
    assert meta.file_bytes < read_metadata(tiny_model).file_bytes / 2
    assert (made.label, made.is_published) == (label, False)
    assert made.distance is not None
    assert 0.0 < made.distance.kl_mean < 5.0
    assert 0.0 < made.distance.top1_agreement < 1.0


def test_a_rewritten_target_is_made_once_and_compared_again(tiny_model: Path, answers: Answers):
    first, second = RecordedProgress(), RecordedProgress()
    made = requantized_target(read_metadata(tiny_model), "Q4_0", answers, first)
    written = made.path.stat().st_mtime_ns
    assert "quantizing" in first.labels
    again = requantized_target(read_metadata(tiny_model), "Q4_0", answers, second)
    assert again == made
    assert made.path.stat().st_mtime_ns == written
    assert second.labels[0] == "comparing Q4_0 with the published file"
    assert not {"quantizing", "writing"} & set(second.labels)


@pytest.mark.parametrize("stage", ["measuring the importance", "writing"])
def test_stopping_while_it_is_rewritten_leaves_nothing_behind(tiny_model: Path, answers: Answers, stage: str):
    def stop(label: str) -> None:
        if label.startswith(stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        requantized_target(read_metadata(tiny_model), "Q4_0", answers, RecordedProgress(stop))
    assert list(derived_models_dir().iterdir()) == []
