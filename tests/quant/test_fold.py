"""The least-squares fold: its formula, and one pass or several over the text."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from quant.prune.blocks import BlockSpan
from quant.prune.fold import FoldStatistics, fold, fold_statistics
from tests.quant.running import plan_of
from tests.recorded_progress import RecordedProgress, Stage
from tests.tiny import make_tiny_model

SPANS = [BlockSpan(1, 2), BlockSpan(2, 2), BlockSpan(2, 4), BlockSpan(4, 4)]


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("fold") / "dense.gguf", blocks=5)


@pytest.fixture(scope="module")
def windows() -> NDArray[np.int32]:
    return np.random.default_rng(3).integers(5, 250, (3, 32)).astype(np.int32)


def test_the_transform_is_that_of_the_formula():
    rng = np.random.default_rng(1)
    m, d = rng.normal(size=(2, 200, 12))
    found = FoldStatistics((m.T @ m).astype(np.float32), (m.T @ d).astype(np.float32)).solve(0.05)
    a = 0.05 * np.trace(m.T @ m) / 12
    # argmin |M T - (M + D)|^2 + a |T - I|^2, as one least-squares problem.
    rows, right = np.vstack([m, np.sqrt(a) * np.eye(12)]), np.vstack([m + d, np.sqrt(a) * np.eye(12)])
    np.testing.assert_allclose(found, np.linalg.lstsq(rows, right)[0], atol=1e-4)


def test_a_span_that_adds_nothing_needs_no_fold():
    gram = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(FoldStatistics(gram, np.zeros_like(gram)).solve(), np.eye(4))


def test_several_passes_sum_what_one_does(
    dense: Path, windows: NDArray[np.int32], monkeypatch: pytest.MonkeyPatch
):
    told = RecordedProgress()
    with Model(dense, Placement()) as model:
        at_once = fold_statistics(model, windows, SPANS)
        monkeypatch.setattr("quant.prune.fold._BUDGET_BYTES", 2 * 8 * model.n_embd**2)
        in_passes = fold_statistics(model, windows, SPANS, progress=told)
    assert told.stages == [Stage("reading the calibration text", 6, "steps", 6)]
    assert list(at_once) == list(in_passes) == SPANS
    for span in SPANS:
        np.testing.assert_array_equal(at_once[span].gram, in_passes[span].gram)
        np.testing.assert_array_equal(at_once[span].cross, in_passes[span].cross)


def test_a_block_without_an_ffn_cannot_take_a_fold(dense: Path):
    with pytest.raises(KeyError, match=r"blk\.9\.ffn_down"):
        fold(plan_of(dense), {9: np.eye(64, dtype=np.float32)})
