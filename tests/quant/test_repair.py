"""A repair puts back what the kept columns can say of the removed ones, and is left out where it does not help."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.catalog.metadata import read_metadata
from quant.gguf.plan import GgufPlan, copy_of
from quant.gguf.tensors import computed, find_tensor, planned_weights, replace_tensors
from quant.numeric.ridge import NO_CHANGE, Ridges
from quant.prune.repair import repair
from quant.prune.repair_report import RepairReport
from quant.prune.selection import Pruned, Selection, take_out
from quant.prune.width import BlockWidth
from quant.text.calibration import Calibration
from tests.quant.running import residuals_after
from tests.recorded_progress import RecordedProgress, Stage
from tests.tiny import TinyShape, make_tiny_model

SHAPE = TinyShape(blocks=3, embedding=64, heads=4, kv_heads=2, feed_forward=64)


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> GgufPlan:
    """A model whose neurons come in pairs that compute the same."""
    path: Path = tmp_path_factory.mktemp("repair") / "twins.gguf"
    plan = copy_of(read_metadata(make_tiny_model(path, shape=SHAPE)))
    for block in range(3):
        for name in ("ffn_gate", "ffn_up"):
            weight = planned_weights(plan, f"blk.{block}.{name}.weight")
            weight[32:] = weight[:32]
            plan = with_weight(plan, f"blk.{block}.{name}.weight", weight)
    return plan


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    windows = np.random.default_rng(5).integers(5, 250, (12, 64)).astype(np.int32)
    return Calibration(windows[:10], windows[10:])


def with_weight(plan: GgufPlan, name: str, weight: NDArray[np.float32]) -> GgufPlan:
    tensor = find_tensor(plan, name)
    assert tensor is not None
    wide = computed(replace(tensor, ggml_type="F32"), tensor.shape, partial(np.asarray, weight))
    return replace_tensors(plan, {name: wide})


def without_block_1(plan: GgufPlan) -> Pruned:
    return take_out(plan, Selection((1,)))


def report_of(repaired: Pruned) -> RepairReport:
    assert repaired.report is not None
    return repaired.report


def distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_what_twins_of_removed_neurons_can_say_is_put_back(
    twins: GgufPlan, calibration: Calibration, tmp_path: Path
):
    pruned = take_out(twins, Selection(widths=(BlockWidth(np.arange(2), np.arange(32)),) * 3))
    repaired = repair(pruned, calibration, tmp_path)
    report = report_of(repaired)
    assert report.repaired_nll == pytest.approx(report.dense_nll, abs=2e-3)
    dense = residuals_after(twins, calibration.held_out)
    assert distance(residuals_after(pruned.gguf, calibration.held_out), dense) > 0.2
    assert report.helped
    assert distance(residuals_after(repaired.gguf, calibration.held_out), dense) < 0.02


def test_only_what_comes_after_the_gap_is_refitted(twins: GgufPlan, calibration: Calibration, tmp_path: Path):
    report = report_of(repair(without_block_1(twins), calibration, tmp_path))
    written = sorted(path.name for path in tmp_path.glob("blk.*"))
    assert written == ["blk.0.ffn_down.weight", "blk.1.attn_output.weight", "blk.1.ffn_down.weight"]
    assert report.dense_nll != report.cut_nll


def test_the_ridge_is_the_one_that_serves_the_held_out_text(
    twins: GgufPlan, calibration: Calibration, tmp_path: Path
):
    """Beside an endless ridge, which changes nothing, a good one is taken, whatever their order."""
    plan = echoing(twins)

    def gap(*ridges: float) -> float:
        offered = Ridges((0.01,), ridges)
        report = report_of(repair(without_block_1(plan), calibration, tmp_path, ridges=offered))
        return abs(report.repaired_nll - report.dense_nll)

    good, endless = gap(1e-3), gap(1e12)
    assert good < endless / 3
    assert gap(1e12, 1e-3) == gap(1e-3, 1e12) < endless / 3


def test_a_weight_that_no_fit_serves_stays_as_it_is(
    twins: GgufPlan, calibration: Calibration, tmp_path: Path
):
    pruned = without_block_1(twins)
    none = Ridges((NO_CHANGE,), (NO_CHANGE,))
    repaired = repair(pruned, calibration, tmp_path, ridges=none)
    assert report_of(repaired).repaired_kl == report_of(repaired).cut_kl
    assert repaired.gguf is pruned.gguf
    assert not list(tmp_path.glob("blk.*"))


def test_a_repair_that_harms_one_of_the_texts_is_left_out(
    twins: GgufPlan, calibration: Calibration, tmp_path: Path
):
    """Two windows are learnt by heart: good for them, bad for other text."""
    pruned = without_block_1(twins)
    fit, other = calibration.fit[:2], calibration.held_out[:1]

    def run(held_out: NDArray[np.int32], n_texts: int = 1) -> Pruned:
        chosen = Calibration(fit, held_out, n_texts)
        return repair(pruned, chosen, tmp_path, ridges=Ridges((0.3,), (0.3,)))

    repaired = run(fit[:1])
    assert report_of(repaired).helped
    assert repaired.gguf is not pruned.gguf
    left = run(other)
    report = report_of(left)
    assert (report.harmed_texts, report.objection) == ((0,), "it did not help")
    assert left.gguf is pruned.gguf
    both = np.concatenate([fit[:1], other])
    assert report_of(run(both)).helped
    left = run(both, n_texts=2)
    report = report_of(left)
    assert (report.harmed_texts, report.objection) == ((1,), "it made the model worse on one of the texts")
    assert left.gguf is pruned.gguf


def test_progress_counts_the_dense_models_blocks(twins: GgufPlan, calibration: Calibration, tmp_path: Path):
    told = RecordedProgress()
    repair(without_block_1(twins), calibration, tmp_path, progress=told)
    assert told.stages == [Stage("repairing blocks", 3, "steps", 3)]


def echoing(plan: GgufPlan) -> GgufPlan:
    """Block 1 without attention and with neurons that nearly do what those of block 0 do."""
    for name in ("ffn_gate.weight", "ffn_up.weight", "ffn_norm.weight"):
        plan = with_weight(plan, f"blk.1.{name}", planned_weights(plan, f"blk.0.{name}"))
    quiet = planned_weights(plan, "blk.0.ffn_down.weight") / 50
    plan = with_weight(plan, "blk.0.ffn_down.weight", quiet)
    return with_weight(plan, "blk.1.attn_output.weight", np.zeros((64, 64), np.float32))
