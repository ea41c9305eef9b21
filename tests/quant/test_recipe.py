"""A file says how it was made."""

import hashlib
from pathlib import Path

from edgespec.catalog.metadata import read_metadata
from quant.gguf.plan import copy_of
from quant.gguf.recipe import read_recipe, stamp
from quant.gguf.writer import write_gguf


def test_steps_of_several_runs_add_up_and_the_first_source_is_kept(tiny_model: Path, tmp_path: Path):
    source = read_metadata(tiny_model)
    first, second = {"step": "depth", "removed": [1]}, {"step": "quantize", "type": "Q4_0"}

    write_gguf(stamp(copy_of(source), first), tmp_path / "one.gguf")
    write_gguf(stamp(copy_of(read_metadata(tmp_path / "one.gguf")), second), tmp_path / "two.gguf")
    recipe = read_recipe(read_metadata(tmp_path / "two.gguf"))

    assert recipe is not None
    assert recipe["schema"] == "edgespec.recipe/1"
    assert recipe["steps"] == [first, second]
    header = tiny_model.read_bytes()[: source.data_offset]
    assert recipe["source"] == {
        "name": tiny_model.name,
        "file_bytes": source.file_bytes,
        "header_sha256": hashlib.sha256(header).hexdigest(),
    }


def test_a_file_of_others_has_none(tiny_model: Path):
    assert read_recipe(read_metadata(tiny_model)) is None
