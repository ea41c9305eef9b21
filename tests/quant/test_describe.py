"""What a header says of a model."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.catalog.model_file import ModelFile, open_file
from quant.gguf.describe import StoredType, describe_file, description_lines
from quant.gguf.fields import FieldValue
from quant.gguf.recipe import pruning_method, stamp
from tests.quant.running import plan_of, written


@pytest.fixture
def file(tiny_model: Path) -> ModelFile:
    return open_file("tiny", tiny_model)


def test_sizes_and_types_are_the_files(file: ModelFile, tiny_model: Path):
    found = describe_file(file)
    assert (found.name, found.path, found.parts) == ("tiny", str(tiny_model), 1)
    assert (found.size_bytes, found.n_blocks, found.n_embd) == (tiny_model.stat().st_size, 2, 64)
    assert found.types == {"F32": StoredType(len(file.meta.tensors), file.meta.weights_bytes)}
    assert found.recipe is None
    assert dict(description_lines(found))["origin"] == "not said"


def test_the_document_has_the_fields_under_their_names(file: ModelFile):
    document = describe_file(file).as_document()
    assert (document["schema"], document["head_dim"], document["n_ff"]) == ("edgespec.show/1", 16, 128)
    assert document["types"] == {"F32": {"tensors": len(file.meta.tensors), "bytes": file.meta.weights_bytes}}


def test_numbers_that_differ_by_block_are_told_as_a_range(file: ModelFile):
    fields = {
        **file.meta.fields,
        "llama.feed_forward_length": [128, 64],
        "llama.attention.head_count": [4, 4],
    }
    lines = dict(description_lines(describe_file(replace(file, meta=replace(file.meta, fields=fields)))))
    assert lines["blocks"].endswith("FFN 64 to 128")
    assert lines["attention"].startswith("4 heads, ")


def test_steps_are_told_with_their_options(tiny_model: Path, tmp_path: Path):
    step = {"step": "prune", "method": "flap", "neurons": [96, 64], "held_out_kl": {"cut": 0.5}}
    plan = replace(plan_of(tiny_model), edits={"general.license": FieldValue("str", "mit")})
    file = open_file("made", written(stamp(plan, step), tmp_path / "made.gguf"))
    lines = dict(description_lines(describe_file(file)))
    assert lines["licence"] == "mit"
    assert lines["made from"].startswith(f"{tiny_model.name} by edgespec ")
    assert lines["step 1"] == "prune: held_out_kl cut 0.5, method flap, neurons 96 64"
    assert pruning_method(file.meta) == "flap"
    assert pruning_method(open_file("tiny", tiny_model).meta) is None
