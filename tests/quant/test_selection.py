"""What is selected is taken out, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.errors import UsageError
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import planned_weights
from quant.prune.selection import Selection, take_out
from quant.prune.width import BlockWidth
from tests.quant.running import plan_of
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> GgufPlan:
    return plan_of(make_tiny_model(tmp_path_factory.mktemp("selection") / "dense.gguf", blocks=4))


def test_blocks_that_are_kept_know_their_old_numbers(dense: GgufPlan):
    pruned = take_out(dense, Selection((0, 2)))
    assert pruned.kept_blocks == (1, 3)
    assert pruned.selection.sizes == ()
    for new, old in enumerate(pruned.kept_blocks):
        name = "ffn_down.weight"
        np.testing.assert_array_equal(
            planned_weights(pruned.gguf, f"blk.{new}.{name}"), planned_weights(dense, f"blk.{old}.{name}")
        )


def test_widths_and_biases_are_those_of_the_kept_blocks(dense: GgufPlan):
    neurons = np.arange(0, 128, 2)
    whole, half = BlockWidth(np.arange(2), np.arange(128)), BlockWidth(np.arange(2), neurons)
    bias = np.arange(64, dtype=np.float32)
    pruned = take_out(dense, Selection((1,), (whole, half, whole), {"blk.1.ffn_down": bias}))
    assert pruned.selection.sizes == ((2, 128), (2, 64), (2, 128))
    np.testing.assert_array_equal(
        planned_weights(pruned.gguf, "blk.1.ffn_down.weight"),
        planned_weights(dense, "blk.2.ffn_down.weight")[:, neurons],
    )
    np.testing.assert_array_equal(planned_weights(pruned.gguf, "blk.1.ffn_down.bias"), bias)


def test_nothing_selected_leaves_the_plan_as_it_is(dense: GgufPlan):
    assert take_out(dense, Selection()).gguf is dense


def test_a_block_that_is_not_there_cannot_leave(dense: GgufPlan, tmp_path: Path):
    with pytest.raises(UsageError, match="there is no block 4 in a model of 4"):
        take_out(dense, Selection((4,)))
