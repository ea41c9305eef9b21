"""Scores of whole blocks: a block that adds nothing has none."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.llama.eval_callback import EvalCallback
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.progress import SILENT
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import planned_weights
from quant.prune.amount import BlockAmount
from quant.prune.block_importance import (
    angular_distances,
    block_influence,
    closest_span,
    lowest,
    magnitudes,
)
from quant.prune.blocks import BlockSpan
from quant.prune.choices import Criterion
from quant.prune.depth import choose_by_activations, least_attention
from quant.text.calibration import Calibration
from tests.quant.running import logits_of, own_text, plan_of, written
from tests.quant.silent import with_silent_blocks, with_zeros
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("importance") / "dense.gguf", blocks=5)


@pytest.fixture(scope="module")
def silent(dense: Path) -> Path:
    """Block 2 leaves the residual stream as it is."""
    return written(with_silent_blocks(plan_of(dense), [2]), dense.with_name("silent.gguf"))


@pytest.fixture(scope="module")
def windows() -> NDArray[np.int32]:
    return np.random.default_rng(3).integers(5, 250, (3, 32)).astype(np.int32)


@pytest.fixture(scope="module")
def residuals(silent: Path, windows: NDArray[np.int32]) -> NDArray[np.float64]:
    """llama.cpp's own, `[n_windows, n_blocks + 1, n_ctx, n_embd]`."""
    found: list[NDArray[np.float32]] = []
    names = ["embd", *(f"l_out-{block}" for block in range(5))]
    logits_of(
        silent,
        windows,
        EvalCallback(nodes=dict.fromkeys(names, lambda node: found.append(node.output.copy()))),
    )
    return np.array(found, np.float64).reshape(3, 6, 32, -1)


def test_influence_is_one_less_the_cosine_of_input_and_output(
    silent: Path, windows: NDArray[np.int32], residuals: NDArray[np.float64]
):
    with Model(silent, Placement()) as model:
        influence = block_influence(model, windows)
    unit = residuals / np.linalg.norm(residuals, axis=-1, keepdims=True)
    expected = 1 - (unit[:, :-1] * unit[:, 1:]).sum(axis=-1).mean(axis=(0, 2))
    np.testing.assert_allclose(influence, expected, atol=1e-6)
    assert influence[2] == pytest.approx(0, abs=1e-6)
    assert (np.delete(influence, 2) > 1e-3).all()


def test_distances_are_the_angles_of_the_last_tokens(
    silent: Path, windows: NDArray[np.int32], residuals: NDArray[np.float64]
):
    with Model(silent, Placement()) as model:
        distances = angular_distances(model, windows)
    last = residuals[:, :, -1] / np.linalg.norm(residuals[:, :, -1], axis=-1, keepdims=True)
    cosines = np.einsum("wie,wje->wij", last, last)
    np.testing.assert_allclose(distances, np.arccos(np.clip(cosines, -1, 1)).mean(axis=0) / np.pi, atol=1e-6)
    assert distances.shape == (6, 6)
    assert distances[2, 3] == pytest.approx(0, abs=1e-3)
    assert closest_span(distances, BlockAmount(1, range(5))) == BlockSpan(2, 2)


def test_magnitudes_are_sums_of_all_of_a_blocks_weights(dense: Path):
    plan: GgufPlan = plan_of(dense)
    names = [tensor.name for tensor in plan.tensors if tensor.name.startswith("blk.3.")]
    expected = sum(np.abs(planned_weights(plan, name)).sum(dtype=np.float64) for name in names)
    assert magnitudes(plan)[3] == pytest.approx(expected)
    assert len(magnitudes(plan)) == 5


def test_the_lowest_of_those_that_may_go_leave():
    scores = np.array([0.0, 5.0, 1.0, 4.0, 2.0, 0.5])
    assert lowest(scores, BlockAmount(2, range(1, 5))) == (2, 4)
    assert lowest(scores, BlockAmount(1, range(6))) == (0,)


@pytest.mark.parametrize(
    "criterion", [Criterion.PPL, Criterion.KL, Criterion.BLOCK_INFLUENCE, Criterion.ANGULAR]
)
def test_every_criterion_by_activations_finds_the_block_that_adds_nothing(silent: Path, criterion: Criterion):
    windows = own_text(silent, 2, 32)
    with Model(silent, Placement()) as model:
        amount = BlockAmount(1, range(1, 5))
        assert choose_by_activations(model, windows, criterion, amount, progress=SILENT) == (2,)


def test_a_criterion_that_does_not_score_blocks_is_an_error(silent: Path, windows: NDArray[np.int32]):
    with Model(silent, Placement()) as model, pytest.raises(ValueError, match="window"):
        choose_by_activations(model, windows, Criterion.WINDOW, BlockAmount(1, range(5)), progress=SILENT)


def test_attention_that_adds_nothing_is_missed_least_and_the_first_is_spared(
    dense: Path, windows: NDArray[np.int32], tmp_path: Path
):
    names = [f"blk.{block}.attn_output.weight" for block in (0, 3)]
    file = written(with_zeros(plan_of(dense), names), tmp_path / "silent.gguf")
    with Model(file, Placement()) as model:
        text = Calibration(windows, windows)
        assert least_attention(model, text, 1, SILENT) == (3,)
        assert least_attention(model, text, 0, SILENT) == ()
