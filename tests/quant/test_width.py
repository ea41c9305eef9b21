"""Blocks that lose heads and neurons: what counts nothing leaves no trace, and FLAP's bias is the mean."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.catalog.metadata import read_metadata
from edgespec.errors import UsageError
from edgespec.llama.eval_callback import EvalCallback, Handler, Node
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import computed, find_tensor, planned_weights, replace_tensors
from quant.prune.amount import WidthAmount
from quant.prune.choices import Protection, Structure
from quant.prune.flap import Fluctuation, magnitude_scores
from quant.prune.shape import read_shape
from quant.prune.width import BlockWidth, cut_widths
from quant.prune.width_choice import Scores, choose_widths, whole_blocks, without_attention
from tests.quant.running import logits_of, plan_of, removed_parameters, written
from tests.tiny import TinyShape, make_tiny_model

SHAPE = TinyShape(blocks=4, embedding=64, heads=4, kv_heads=2, feed_forward=128)
GROUP = 32
"""Columns of `attn_output` that a KV group of two heads of 16 takes."""


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def dense(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = "spm" if request.param == "llama" else "bpe"
    path = tmp_path_factory.mktemp("width") / f"{request.param}.gguf"
    return make_tiny_model(path, shape=SHAPE, architecture=request.param, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def windows() -> NDArray[np.int32]:
    return np.random.default_rng(7).integers(5, 250, (3, 40)).astype(np.int32)


def without_columns(plan: GgufPlan, zeros: dict[str, NDArray[np.int64]]) -> GgufPlan:
    """The plan with some columns of some weights set to zero."""

    def zeroed(name: str) -> NDArray[np.float32]:
        weight = planned_weights(plan, name).copy()
        weight[:, zeros[name]] = 0
        return weight

    changed = {}
    for name in zeros:
        tensor = find_tensor(plan, name)
        assert tensor is not None
        changed[name] = computed(tensor, tensor.shape, partial(zeroed, name))
    return replace_tensors(plan, changed)


def kept_of(groups: list[list[int]], neurons: list[NDArray[np.int64]]) -> tuple[BlockWidth, ...]:
    return tuple(BlockWidth(np.array(g), n) for g, n in zip(groups, neurons, strict=True))


def test_units_of_no_importance_leave_no_trace(dense: Path, windows: NDArray[np.int32], tmp_path: Path):
    rng = np.random.default_rng(1)
    neurons = [np.sort(rng.choice(128, size, replace=False)) for size in (96, 64, 128, 32)]
    groups = [[0, 1], [1], [0], [0, 1]]
    zeros = {}
    for block in range(4):
        zeros[f"blk.{block}.ffn_down.weight"] = np.setdiff1d(np.arange(128), neurons[block])
        gone = [g for g in (0, 1) if g not in groups[block]]
        zeros[f"blk.{block}.attn_output.weight"] = np.concatenate(
            [np.arange(g * GROUP, (g + 1) * GROUP) for g in gone] or [np.zeros(0, np.int64)]
        )
    plan = without_columns(plan_of(dense), zeros)
    kept = kept_of(groups, neurons)
    smaller = written(cut_widths(plan, kept), tmp_path / "smaller.gguf")
    expected = logits_of(written(plan, tmp_path / "zeroed.gguf"), windows)
    assert np.allclose(logits_of(smaller, windows), expected, atol=2e-2)
    meta = read_metadata(smaller)
    assert meta.architecture == "deci"
    assert meta.head_count == [4, 2, 2, 4]
    shape = read_shape(plan)
    assert plan.parameter_count - meta.parameter_count - removed_parameters(shape, kept) in (
        0,
        2 * 32 + 2 * 32,
    )


def test_a_uniform_cut_of_neurons_keeps_the_architecture(
    dense: Path, windows: NDArray[np.int32], tmp_path: Path
):
    shape = read_shape(plan_of(dense))
    kept = kept_of([[0, 1]] * 4, [np.arange(96)] * 4)
    smaller = written(cut_widths(plan_of(dense), kept), tmp_path / "smaller.gguf")
    meta = read_metadata(smaller)
    assert meta.architecture == read_metadata(dense).architecture
    assert shape.block_parameters * 4 - removed_parameters(shape, kept) < meta.parameter_count
    assert np.isfinite(logits_of(smaller, windows)).all()


def test_flaps_bias_is_the_mean_of_what_was_removed(dense: Path, windows: NDArray[np.int32], tmp_path: Path):
    """The cut model's logits are those of the dense one whose removed inputs are replaced by their means."""
    plan = plan_of(dense)
    with Model(dense, Placement()) as model:
        found = Fluctuation.measure(model, plan, windows)
    kept = choose_widths(found.shape, found.scores(), WidthAmount(0.4), "adaptive")
    smaller = written(cut_widths(plan, kept, found.biases(kept)), tmp_path / "smaller.gguf")

    def substitute(
        kept: NDArray[np.int64], mean: NDArray[np.float32], weight: NDArray[np.float32]
    ) -> Handler:
        def handle(node: Node) -> None:
            inputs = np.tile(mean, (len(node.input), 1))
            inputs[:, kept] = node.input[:, kept]
            node.output[:] = inputs @ weight.T

        return handle

    handlers: dict[str, Handler] = {}
    for number, block in enumerate(kept):
        columns = (block.kv_groups[:, None] * GROUP + np.arange(GROUP)).reshape(-1)
        for name, inputs in (
            (f"blk.{number}.attn_output.weight", columns),
            (f"blk.{number}.ffn_down.weight", block.neurons),
        ):
            handlers[name] = substitute(
                inputs, found.moments[name].mean.astype(np.float32), planned_weights(plan, name)
            )
    masked = logits_of(dense, windows, EvalCallback(weights=handlers))
    assert np.allclose(logits_of(smaller, windows), masked, atol=5e-2)
    assert not np.allclose(logits_of(dense, windows), masked, atol=0.5)


def test_what_attention_added_on_average_comes_with_the_ffn(dense: Path, windows: NDArray[np.int32]):
    plan = plan_of(dense)
    with Model(dense, Placement()) as model:
        found = Fluctuation.measure(model, plan, windows)
    added = found.biases(without_attention(whole_blocks(found.shape), [2]))
    weight = "blk.2.attn_output.weight"
    expected = planned_weights(plan, weight) @ found.moments[weight].mean.astype(np.float32)
    assert list(added) == ["blk.2.ffn_down"]
    np.testing.assert_allclose(added["blk.2.ffn_down"], expected, rtol=1e-5)


def test_a_first_block_without_attention_is_refused(dense: Path):
    plan = plan_of(dense)
    with pytest.raises(UsageError, match="the first block would keep no head"):
        cut_widths(plan, without_attention(whole_blocks(read_shape(plan)), [0]))


@pytest.mark.parametrize("structure", ["adaptive", "uniform"])
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5])
def test_the_ratio_is_met_within_a_group(dense: Path, structure: Structure, ratio: float):
    plan = plan_of(dense)
    shape = read_shape(plan)
    kept = choose_widths(shape, magnitude_scores(plan, shape), WidthAmount(ratio), structure)
    wanted = ratio * shape.n_blocks * shape.block_parameters
    unit = max(shape.group_parameters, shape.neuron_multiple * shape.neuron_parameters)
    slack = unit * (shape.n_blocks if structure == "uniform" else 1)
    assert abs(removed_parameters(shape, kept) - wanted) <= slack
    assert {len(block.neurons) % shape.neuron_multiple for block in kept} == {0}
    if structure == "uniform":
        assert len({(len(block.kv_groups), len(block.neurons)) for block in kept}) == 1


def test_the_lowest_scores_leave_first(dense: Path):
    shape = read_shape(plan_of(dense))
    neurons = np.tile(np.arange(128.0), (4, 1))
    neurons[2] += 1000
    kept = choose_widths(shape, Scores(np.full((4, 2), 1e6), neurons), WidthAmount(0.2), "adaptive")
    assert [len(block.kv_groups) for block in kept] == [2, 2, 2, 2]
    assert len(kept[2].neurons) == 128
    for block in (0, 1, 3):
        assert kept[block].neurons.max() == 127
        assert len(kept[block].neurons) == 128 - kept[block].neurons.min()


def test_protected_blocks_stay_whole_in_a_ranking_too(dense: Path):
    shape = read_shape(plan_of(dense))
    scores = Scores(np.ones((4, 2)), np.tile(np.arange(128.0), (4, 1)))
    amount = WidthAmount(0.2, Protection(1, 1))
    kept = choose_widths(shape, scores, amount, "adaptive")
    assert [len(kept[block].neurons) for block in (0, 3)] == [128, 128]
    missing = removed_parameters(shape, kept) - 0.2 * 4 * shape.block_parameters
    assert abs(missing) <= max(shape.group_parameters, 32 * shape.neuron_parameters)
    with pytest.raises(UsageError, match="from 2 of 4 blocks"):
        choose_widths(shape, scores, WidthAmount(0.48, Protection(1, 1)), "uniform")


@pytest.mark.parametrize(
    ("structure", "n_groups", "left"), [("adaptive", 3, 5), ("uniform", 1, 4), ("adaptive", 0, 8)]
)
def test_a_number_of_groups_leaves_and_neurons_make_up_the_rest(
    dense: Path, structure: Structure, n_groups: int, left: int
):
    plan = plan_of(dense)
    shape = read_shape(plan)
    kept = choose_widths(shape, magnitude_scores(plan, shape), WidthAmount(0.3, n_groups=n_groups), structure)
    assert sum(len(block.kv_groups) for block in kept) == left
    missing = removed_parameters(shape, kept) - 0.3 * 4 * shape.block_parameters
    assert abs(missing) <= 4 * 16 * shape.neuron_parameters


def test_every_block_keeps_a_group(dense: Path):
    shape = read_shape(plan_of(dense))
    with pytest.raises(UsageError, match="8 KV groups cannot leave"):
        choose_widths(
            shape, Scores(np.ones((4, 2)), np.ones((4, 128))), WidthAmount(0.3, n_groups=8), "adaptive"
        )


def test_a_cut_of_a_cut_adds_its_bias_to_the_first_ones(
    dense: Path, windows: NDArray[np.int32], tmp_path: Path
):
    path = dense
    for number in range(2):
        plan = plan_of(path)
        with Model(path, Placement()) as model:
            found = Fluctuation.measure(model, plan, windows)
        kept = choose_widths(found.shape, found.scores(), WidthAmount(0.2), "uniform")
        means = found.biases(kept)
        path = written(cut_widths(plan, kept, means), tmp_path / f"{number}.gguf")
    name = "blk.1.ffn_down.bias"
    before, after = (planned_weights(plan_of(tmp_path / f"{n}.gguf"), name) for n in (0, 1))
    assert np.allclose(after - before, means["blk.1.ffn_down"], atol=1e-6)
    assert np.isfinite(logits_of(path, windows)).all()


def test_a_ratio_out_of_reach_is_refused(dense: Path):
    shape = read_shape(plan_of(dense))
    with pytest.raises(UsageError, match="less than a head and 32 neurons"):
        choose_widths(shape, Scores(np.ones((4, 2)), np.ones((4, 128))), WidthAmount(0.9), "adaptive")


@pytest.mark.parametrize("ratio", [0.0, 1.0, -1.0])
def test_a_ratio_that_makes_no_sense_is_refused(dense: Path, ratio: float):
    shape = read_shape(plan_of(dense))
    with pytest.raises(UsageError, match="removes nothing or everything"):
        choose_widths(shape, Scores(np.ones((4, 2)), np.ones((4, 128))), WidthAmount(ratio), "uniform")


def test_a_block_without_neurons_is_refused(dense: Path):
    kept = kept_of([[0, 1]] * 4, [np.arange(96), np.zeros(0, np.int64), np.arange(96), np.arange(96)])
    with pytest.raises(UsageError, match="a block would keep no neuron"):
        cut_widths(plan_of(dense), kept)
