"""Gradients against finite differences, and what LLM-Pruner makes of them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.errors import UsageError
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import computed, find_tensor, planned_weights, replace_tensors
from quant.numeric.gradients import BlockGradients, loss_gradients
from quant.prune.amount import WidthAmount
from quant.prune.block_importance import taylor
from quant.prune.choices import PUBLISHED_PROTECTION, Importance
from quant.prune.llm_pruner import importance_scores
from quant.prune.shape import read_shape
from quant.prune.width_choice import Scores, choose_widths
from tests.quant.running import next_token_nll, removed_parameters, residuals_after


@pytest.fixture(scope="module")
def windows() -> NDArray[np.int32]:
    return np.random.default_rng(2).integers(5, 250, (3, 12)).astype(np.int32)


def loss_of(plan: GgufPlan, windows: NDArray[np.int32]) -> float:
    return float(next_token_nll(plan, residuals_after(plan, windows), windows).mean())


def moved(plan: GgufPlan, name: str, step: NDArray[np.float32]) -> GgufPlan:
    tensor = find_tensor(plan, name)
    assert tensor is not None
    weight = planned_weights(plan, name) + step
    return replace_tensors(
        plan, {name: computed(replace(tensor, ggml_type="F32"), tensor.shape, partial(np.asarray, weight))}
    )


def test_gradients_are_those_of_finite_differences(plan: GgufPlan, windows: NDArray[np.int32]):
    found: dict[str, NDArray[np.float32]] = {}

    def visit(block: BlockGradients) -> None:
        found.update({f"blk.{block.number}.{name}": g for name, g in block.gradients.items()})

    loss = loss_gradients(plan, windows, visit)
    assert loss == pytest.approx(loss_of(plan, windows), rel=1e-5)
    rng = np.random.default_rng(0)
    names = [tensor.name for tensor in plan.tensors if tensor.name.startswith("blk.")]
    assert set(found) == set(names)
    for name in names:
        weight = planned_weights(plan, name)
        direction = rng.standard_normal(weight.shape).astype(np.float32)
        direction *= np.float32(2e-3 * (np.abs(weight).mean() + 0.02))
        ahead, back = (loss_of(moved(plan, name, sign * direction), windows) for sign in (1, -1))
        expected = float((found[name] * direction).sum(dtype=np.float64))
        size = float(np.linalg.norm(found[name]) * np.linalg.norm(direction)) / np.sqrt(weight.size)
        assert (ahead - back) / 2 == pytest.approx(expected, rel=0.03, abs=0.05 * size + 2e-7), name


def test_squared_gradients_are_those_of_each_windows_own_loss(plan: GgufPlan, windows: NDArray[np.int32]):
    name = "ffn_down.weight"
    alone: list[NDArray[np.float32]] = []
    for window in windows:
        loss_gradients(
            plan,
            window[None],
            lambda block: alone.append(block.gradients[name]) if block.number == 1 else None,
        )
    together: list[BlockGradients] = []
    loss_gradients(plan, windows, together.append, squares=True)
    block = next(block for block in together if block.number == 1)
    assert np.allclose(block.gradients[name], np.mean(alone, axis=0), rtol=1e-4, atol=1e-6)
    assert np.allclose(block.squares[name], np.mean(np.square(alone), axis=0), rtol=1e-3, atol=1e-7)


def test_the_four_figures_of_a_neuron(plan: GgufPlan, windows: NDArray[np.int32]):
    shape, seen = read_shape(plan), []
    loss_gradients(plan, windows, seen.append, squares=True)
    block = next(block for block in seen if block.number == 2)
    parts = []
    for name in ("ffn_gate", "ffn_up", "ffn_down"):
        arrays = (of[f"{name}.weight"] for of in (block.weights, block.gradients, block.squares))
        w, g, squares = (array[:, 5] if name == "ffn_down" else array[5] for array in arrays)
        parts.append((w * g, w * w * squares))
    expected = {
        Importance.ELEMENT: sum(np.abs(first).sum() for first, _ in parts),
        Importance.VECTOR: sum(abs(first.sum()) for first, _ in parts),
        Importance.SECOND: sum(second.sum() for _, second in parts),
        Importance.MIXED: sum(np.abs(first - second / 2).sum() for first, second in parts),
    }
    for importance, value in expected.items():
        scores = importance_scores(plan, shape, windows, importance)
        assert scores.neurons[2, 5] == pytest.approx(value, rel=1e-4), importance


def test_taylor_gives_a_block_that_adds_nothing_no_score(plan: GgufPlan, windows: NDArray[np.int32]):
    for name in ("blk.1.attn_output.weight", "blk.1.ffn_down.weight"):
        plan = moved(plan, name, -planned_weights(plan, name))
    scores = taylor(plan, windows)
    assert scores[1] == 0
    assert (np.delete(scores, 1) > 0).all()


def test_a_neuron_that_does_nothing_has_no_importance(plan: GgufPlan, windows: NDArray[np.int32]):
    shape = read_shape(plan)
    dead = {}
    for name, rows in (("ffn_gate", True), ("ffn_up", True), ("ffn_down", False)):
        weight = planned_weights(plan, f"blk.1.{name}.weight")
        change = np.zeros_like(weight)
        if rows:
            change[7] = -weight[7]
        else:
            change[:, 7] = -weight[:, 7]
        dead[f"blk.1.{name}.weight"] = change
    for name, change in dead.items():
        plan = moved(plan, name, change)
    for importance in Importance:
        scores = importance_scores(plan, shape, windows, importance)
        assert scores.neurons[1, 7] == 0
        assert (np.delete(scores.neurons[1], 7) > 0).all()
        assert (scores.groups > 0).all()


def test_the_protected_blocks_stay_whole_and_the_rest_makes_up_for_them(plan: GgufPlan):
    shape = replace(read_shape(plan), n_blocks=12, n_ff=320, n_head_kv=4, n_head=8)
    rng = np.random.default_rng(4)
    scores = Scores(rng.random((12, 4)), rng.random((12, 320)))
    cut = choose_widths(shape, scores, WidthAmount(0.2, PUBLISHED_PROTECTION), "uniform")
    assert [len(block.neurons) for block in cut[:4] + cut[-2:]] == [320] * 6
    assert len({len(block.neurons) for block in cut[4:-2]}) == 1
    wanted = 0.2 * 12 * shape.block_parameters
    assert (
        abs(removed_parameters(shape, cut) - wanted)
        <= 6 * shape.neuron_multiple / 2 * shape.neuron_parameters
    )
    worst = scores.groups[5].argsort()[: 4 - len(cut[5].kv_groups)]
    assert not set(worst) & set(cut[5].kv_groups)
    with pytest.raises(UsageError, match="cannot be taken from 6 of 12 blocks"):
        choose_widths(shape, scores, WidthAmount(0.6, PUBLISHED_PROTECTION), "uniform")
