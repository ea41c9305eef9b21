"""A model under another architecture computes the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.catalog.metadata import read_metadata
from edgespec.errors import UsageError
from quant.gguf.fields import FieldValue
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import planned_weights
from quant.prune.recast import recast_for_widths
from quant.prune.shape import WIDTH_ARCHITECTURES, head_size, read_shape
from tests.quant.running import logits_of, plan_of, written
from tests.tiny import TinyShape, make_tiny_model

SHAPE = TinyShape(blocks=4, embedding=64, heads=4, kv_heads=2, feed_forward=128)


@pytest.fixture(scope="module", params=WIDTH_ARCHITECTURES)
def dense(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = "spm" if request.param == "llama" else "bpe"
    path = tmp_path_factory.mktemp("recast") / f"{request.param}.gguf"
    return make_tiny_model(path, shape=SHAPE, architecture=request.param, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def windows() -> NDArray[np.int32]:
    return np.random.default_rng(7).integers(5, 250, (3, 40)).astype(np.int32)


def recast(plan: GgufPlan, *, per_block: bool) -> GgufPlan:
    return recast_for_widths(plan, read_shape(plan), per_block=per_block)


@pytest.mark.parametrize("per_block", [False, True])
def test_a_recast_model_computes_what_the_model_computes(
    dense: Path, windows: NDArray[np.int32], tmp_path: Path, per_block: bool
):
    file = written(recast(plan_of(dense), per_block=per_block), tmp_path / "recast.gguf")
    assert read_metadata(file).architecture == ("deci" if per_block else "llama")
    expected = logits_of(dense, windows)
    assert np.allclose(logits_of(file, windows), expected, atol=2e-2)
    assert np.array_equal(logits_of(file, windows).argmax(-1), expected.argmax(-1))


def test_a_model_that_needs_no_other_loader_is_left_alone(tiny_model: Path):
    plan = plan_of(tiny_model)
    assert recast(plan, per_block=False) is plan


def test_halves_of_a_head_become_neighbours_where_they_turn_against_each_other(dense: Path):
    plan = plan_of(dense)
    halves = plan.architecture == "qwen2"
    llama = recast(plan, per_block=False)
    name = "blk.1.attn_q.weight"
    before, after = planned_weights(plan, name), planned_weights(llama, name)
    order = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15] if halves else list(range(16))
    for head in range(4):
        np.testing.assert_array_equal(after[16 * head :][:16], before[16 * head :][order])


def test_other_architectures_are_refused_with_the_list(dense: Path):
    plan = replace(plan_of(dense), edits={"general.architecture": FieldValue("str", "gemma3")})
    with pytest.raises(UsageError, match="widths of the architecture gemma3 cannot be cut") as caught:
        read_shape(plan)
    assert all(name in caught.value.hint for name in WIDTH_ARCHITECTURES)


def test_the_width_of_a_head_is_what_the_file_says_or_what_the_heads_leave(dense: Path):
    plan, key = plan_of(dense), f"{plan_of(dense).architecture}.attention.key_length"
    assert head_size(replace(plan, edits={key: None})) == 16
    assert head_size(replace(plan, edits={key: FieldValue("u32", 24)})) == 24


@pytest.mark.parametrize("heads", [None, FieldValue("u32", (4, 2, 4, 4))])
def test_a_file_that_does_not_say_how_wide_its_heads_are_is_refused(dense: Path, heads: FieldValue | None):
    plan, prefix = plan_of(dense), plan_of(dense).architecture
    edits = {f"{prefix}.attention.key_length": None, f"{prefix}.attention.head_count": heads}
    with pytest.raises(UsageError, match="does not say how wide its heads are"):
        head_size(replace(plan, edits=edits))
