"""A plan's weights as numbers, the types they are written in, and the values of fields."""

import struct
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from edgespec.catalog.gguf_header import Fields
from edgespec.catalog.metadata import read_metadata
from edgespec.errors import ModelFileError
from quant.gguf.fields import FieldValue, field_value
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import (
    computed,
    find_tensor,
    output_name,
    planned_bytes,
    planned_weights,
    replace_tensors,
    writable_type,
)
from tests.quant.running import plan_of, written


@pytest.fixture
def plan(tiny_model: Path) -> GgufPlan:
    return plan_of(tiny_model)


def test_weights_are_those_that_gguf_py_reads(plan: GgufPlan, tiny_model: Path):
    theirs = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(tiny_model).tensors}
    for name in ("blk.1.ffn_down.weight", "blk.0.attn_norm.weight", "token_embd.weight"):
        np.testing.assert_array_equal(planned_weights(plan, name), theirs[name])
    assert planned_weights(plan, "blk.1.ffn_down.weight").shape == (64, 128)
    assert planned_weights(plan, "blk.0.attn_norm.weight").shape == (64,)


def test_a_computed_tensor_is_read_as_it_will_be_written(plan: GgufPlan, tmp_path: Path):
    name, tensor = "blk.1.ffn_down.weight", find_tensor(plan, "blk.1.ffn_down.weight")
    assert tensor is not None
    weights = np.linspace(-1, 1, 64 * 96, dtype=np.float32).reshape(64, 96)
    changed = replace_tensors(plan, {name: computed(tensor, (96, 64), lambda: weights, ggml_type="Q4_K")})
    # 96 columns are not whole blocks of 256.
    smaller = find_tensor(changed, name)
    assert smaller is not None
    assert (smaller.ggml_type, smaller.shape, smaller.n_bytes) == ("Q5_0", (96, 64), 64 * 3 * 22)
    read = planned_weights(changed, name)
    assert 0 < np.abs(read - weights).max() < 0.1
    with pytest.raises(ModelFileError):
        written(changed, tmp_path / "out.gguf")  # llama.cpp wants all 128 neurons


@pytest.mark.parametrize(
    ("type_name", "columns", "writable"),
    [
        ("Q4_K", 512, "Q4_K"),
        ("Q4_K", 96, "Q5_0"),
        ("Q6_K", 64, "Q8_0"),
        ("Q4_0", 48, "F16"),
        ("Q3_K", 40, "F16"),
        ("Q3_K", 288, "Q4_0"),
        ("F32", 7, "F32"),
    ],
)
def test_a_type_falls_back_where_its_blocks_do_not_divide_the_columns(
    type_name: str, columns: int, writable: str
):
    assert writable_type(type_name, columns) == writable


def test_what_is_not_in_the_plan_is_an_error(plan: GgufPlan):
    for read in (planned_weights, planned_bytes):
        with pytest.raises(KeyError, match="absent"):
            read(plan, "absent.weight")


def test_a_tied_model_makes_logits_with_its_embedding(plan: GgufPlan):
    assert output_name(plan) == "output.weight"
    assert output_name(replace_tensors(plan, {"output.weight": None})) == "token_embd.weight"


def test_numbers_of_a_model_are_read_under_its_own_architecture(plan: GgufPlan):
    assert (plan.integer("block_count"), plan.integer("absent")) == (2, None)
    per_block = {"llama.feed_forward_length": FieldValue("u32", (128, 64))}
    assert replace(plan, edits=per_block).integer("feed_forward_length") is None
    assert replace(plan, edits=per_block).model_field("feed_forward_length") == FieldValue("u32", (128, 64))


@pytest.mark.parametrize(
    "value",
    [
        FieldValue("u32", 77),
        FieldValue("i64", -5),
        FieldValue("f32", 0.5),
        FieldValue("bool", True),
        FieldValue("str", "größe"),
        FieldValue("str", ("a", "", "ü")),
        FieldValue("u8", (0, 255)),
        FieldValue("bool", (True, False)),
    ],
)
def test_values_are_read_back_with_their_types(plan: GgufPlan, tmp_path: Path, value: FieldValue):
    path = written(replace(plan, edits={"x.value": value}), tmp_path / "out.gguf")
    fields = read_metadata(path).fields
    assert isinstance(fields, Fields)
    assert field_value(fields, "x.value") == value
    with pytest.raises(KeyError):
        field_value(fields, "x.absent")


def test_a_number_that_does_not_fit_its_type_is_an_error():
    with pytest.raises(struct.error):
        FieldValue("u8", 256).encoded()
