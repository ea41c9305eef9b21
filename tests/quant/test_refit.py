"""Refitted weights are kept as the file will hold them; wide fits try all ridges now and then."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.llama.quantizer import requantize_file
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import planned_weights
from quant.numeric.ridge import NO_CHANGE, Ridges
from quant.prune.refit import RefittedWeights, RidgeOffers
from tests.quant.running import plan_of
from tests.tiny import make_tiny_model

NAME = "blk.1.ffn_down.weight"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> GgufPlan:
    dense = make_tiny_model(tmp_path_factory.mktemp("refit") / "dense.gguf")
    requantize_file(dense, dense.with_name("q8_0.gguf"), "Q8_0", n_threads=1)
    return plan_of(dense.with_name("q8_0.gguf"))


@pytest.fixture
def weight(plan: GgufPlan) -> NDArray[np.float32]:
    noise = np.random.default_rng(1).normal(0, 1e-3, (64, 128)).astype(np.float32)
    return planned_weights(plan, NAME) + noise


def test_a_weight_comes_back_as_its_type_holds_it(
    plan: GgufPlan, weight: NDArray[np.float32], tmp_path: Path
):
    refitted = RefittedWeights(plan, tmp_path)
    stored = refitted.exchange(NAME, weight, np.ones(128, np.float32))
    assert 0 < np.abs(stored - weight).max() < 0.01
    np.testing.assert_array_equal(planned_weights(refitted.gguf, NAME), stored)


def test_only_that_weight_is_another(plan: GgufPlan, weight: NDArray[np.float32], tmp_path: Path):
    refitted = RefittedWeights(plan, tmp_path)
    refitted.exchange(NAME, weight, np.ones(128, np.float32))
    changed = [old.name for old, new in zip(plan.tensors, refitted.gguf.tensors, strict=True) if old != new]
    assert changed == [NAME]
    assert (refitted.gguf.file_bytes, plan.field_names()) == (plan.file_bytes, refitted.gguf.field_names())


def test_wide_matrices_are_offered_all_ridges_at_every_fourth_block():
    everything, chosen = Ridges((0.1, NO_CHANGE), (0.1, 1.0)), Ridges((0.1,), (1.0,))
    offers = RidgeOffers(everything)
    assert offers.offer(1, "ffn_down", 5000) == everything
    offers.remember("ffn_down", chosen)
    found = [offers.offer(block, "ffn_down", 5000) == everything for block in range(2, 9)]
    assert found == [False, False, True, False, False, False, True]
    assert offers.offer(2, "attn_output", 5000) == everything
    assert offers.offer(2, "ffn_down", 2048) == everything
