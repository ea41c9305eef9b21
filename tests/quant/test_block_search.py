"""Blocks that add nothing are found by trial."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from quant.measure.ablation import Bypass
from quant.measure.likelihood import nll
from quant.prune.amount import BlockAmount
from quant.prune.block_search import best_window, greedy, mean_nll
from quant.prune.blocks import BlockSpan, remove_blocks, spans_of
from quant.text.calibration import Calibration
from tests.quant.running import logits_of, own_text, plan_of, written
from tests.quant.silent import with_silent_blocks
from tests.recorded_progress import RecordedProgress, Stage
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("search") / "dense.gguf", blocks=6)


@pytest.fixture(scope="module")
def windows() -> NDArray[np.int32]:
    return np.random.default_rng(3).integers(5, 250, (7, 40)).astype(np.int32)


def test_the_loss_with_a_gap_is_that_of_the_file_without_the_blocks(
    dense: Path, windows: NDArray[np.int32], tmp_path: Path
):
    shallow = written(remove_blocks(plan_of(dense), [2, 3]), tmp_path / "shallow.gguf")
    logits = logits_of(shallow, windows)[:, :-1]
    expected = nll(logits.reshape(-1, logits.shape[-1]), windows[:, 1:].reshape(-1)).mean()
    with Model(dense, Placement()) as model:
        assert mean_nll(model, windows, [Bypass(2, 3)]) == pytest.approx(expected, rel=1e-6)
        assert mean_nll(model, windows) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("folds", [True, False])
def test_the_window_of_blocks_that_add_nothing_is_the_best(dense: Path, tmp_path: Path, folds: bool):
    file = written(with_silent_blocks(plan_of(dense), [3, 4]), tmp_path / "silent.gguf")
    windows, told = own_text(file, 7, 40), RecordedProgress()
    with Model(file, Placement()) as model:
        text, amount = Calibration(windows[:4], windows[4:]), BlockAmount(2, range(1, 5))
        assert best_window(model, text, amount, folds=folds, progress=told) == BlockSpan(3, 4)
    reading = [Stage("reading the calibration text", 4, "steps", 4)] if folds else []
    # Of three candidates a third stays after one window.
    assert told.stages == [*reading, Stage("comparing windows of blocks", 3, "steps", 3)]


def test_only_allowed_blocks_are_tried(dense: Path, tmp_path: Path):
    file = written(with_silent_blocks(plan_of(dense), [1, 2]), tmp_path / "silent.gguf")
    windows = own_text(file, 2, 40)
    with Model(file, Placement()) as model:
        text = Calibration(windows[:1], windows[1:])
        assert best_window(model, text, BlockAmount(2, range(1, 6)), folds=False) == BlockSpan(1, 2)
        assert best_window(model, text, BlockAmount(2, range(3, 5)), folds=False) == BlockSpan(3, 4)


def test_greedy_finds_blocks_that_add_nothing_wherever_they_are(dense: Path, tmp_path: Path):
    file = written(with_silent_blocks(plan_of(dense), [2, 5]), tmp_path / "silent.gguf")
    windows, told = own_text(file, 1, 40), RecordedProgress()
    with Model(file, Placement()) as model:
        assert greedy(model, windows, BlockAmount(2, range(1, 6)), progress=told) == (2, 5)
    assert told.stages == [
        Stage("choosing block 1 of 2", 5, "steps", 5),
        Stage("choosing block 2 of 2", 4, "steps", 4),
    ]


@pytest.mark.parametrize(
    ("blocks", "gaps"),
    [([], ()), ([4], ((4, 4),)), ([7, 2, 3, 8, 2], ((2, 3), (7, 8))), ([0, 1, 2], ((0, 2),))],
)
def test_neighbours_leave_one_gap(blocks: list[int], gaps: tuple[tuple[int, int], ...]):
    spans = spans_of(blocks)
    assert spans == tuple(BlockSpan(*gap) for gap in gaps)
    assert [block for span in spans for block in span.blocks] == sorted(set(blocks))
