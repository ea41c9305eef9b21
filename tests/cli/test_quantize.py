"""`edgespec quantize` and `edgespec show`: other types, a recipe that goes on, and plain refusals."""

import json
import re
from pathlib import Path

import gguf
import numpy as np
import pytest

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.errors import ModelFileError
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.llama.weights import quantize
from quant.gguf.plan import copy_of
from quant.gguf.recipe import read_recipe
from quant.gguf.tensors import planned_bytes, planned_weights
from quant.measure.imatrix import importance_of, measure, read_imatrix, write_imatrix
from tests.conftest import RunCli
from tests.quant.split import split_in_two
from tests.tiny import TinyShape, make_tiny_model

WIDE = TinyShape(blocks=3, embedding=256, heads=4, kv_heads=2, feed_forward=512)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its rows hold whole blocks of 256, so that K-quants apply."""
    return make_tiny_model(tmp_path_factory.mktemp("wide") / "wide.gguf", shape=WIDE)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "calibration.txt"
    path.write_text("The heron stood in the reeds and waited for the tide to turn in the north. " * 500)
    return path


def types_of(meta: GgufMetadata) -> dict[str, str]:
    return {tensor.name: tensor.ggml_type for tensor in meta.tensors}


def test_a_pure_type_gives_ggmls_own_bytes(run_cli: RunCli, wide: Path, tmp_path: Path):
    out = tmp_path / "out.gguf"
    result = run_cli("quantize", wide, "--type", "q4_0", "--pure", "-o", out)
    assert (result.code, result.err) == (0, "")
    name = "blk.1.ffn_down.weight"
    expected = quantize(planned_weights(copy_of(read_metadata(wide)), name), "Q4_0")
    assert bytes(planned_bytes(copy_of(read_metadata(out)), name)) == bytes(expected)


def test_the_dry_run_says_what_the_run_then_does(run_cli: RunCli, wide: Path, tmp_path: Path):
    out = tmp_path / "out.gguf"
    arguments = ("quantize", wide, "--type", "Q4_K_M", "--tensor", "attn_v=Q8_0", "-o", out, "--json")
    planned = run_cli(*arguments, "--dry-run")
    assert planned.code == 0, planned.err
    assert not out.exists()
    done = run_cli(*arguments)
    assert done.code == 0, done.err
    meta = read_metadata(out)
    document = json.loads(planned.out)
    assert {**document, "output": str(out)} == json.loads(done.out)
    assert document["weights_bytes"] == meta.weights_bytes
    assert {name: entry["tensors"] for name, entry in document["types"].items()} == {
        name: list(types_of(meta).values()).count(name) for name in set(types_of(meta).values())
    }
    assert types_of(meta)["blk.0.attn_v.weight"] == "Q8_0"
    assert types_of(meta)["blk.0.ffn_gate.weight"] == "Q4_K"


def weights_of(path: Path) -> bytes:
    return path.read_bytes()[read_metadata(path).data_offset :]


def test_an_importance_matrix_changes_the_weights_and_is_llama_cpps_file(
    run_cli: RunCli, wide: Path, text: Path, tmp_path: Path
):
    with Model(wide, Placement()) as model:
        windows = np.array(model.tokenize(text.read_text())[:1024], np.int32).reshape(4, 256)
        moments = measure(model, read_metadata(wide), windows)
    file = tmp_path / "imatrix.gguf"
    write_imatrix(file, moments, dataset="herons", n_ctx=256)
    reader = gguf.GGUFReader(file)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.type"] == "imatrix"
    assert (fields["imatrix.chunk_count"], fields["imatrix.chunk_size"]) == (4, 256)
    assert fields["imatrix.datasets"] == ["herons"]
    importance = read_imatrix(file)
    assert set(importance) == set(moments)
    for name, values in importance_of(moments).items():
        assert np.allclose(importance[name], values, rtol=1e-5)
    plain, weighted = tmp_path / "plain.gguf", tmp_path / "weighted.gguf"
    assert run_cli("quantize", wide, "--type", "Q4_K_S", "-o", plain).code == 0
    assert run_cli("quantize", wide, "--type", "Q4_K_S", "-o", weighted, "--imatrix", file).code == 0
    name = "blk.0.ffn_down.weight"
    dense = planned_weights(copy_of(read_metadata(wide)), name)
    errors = []
    for path in (plain, weighted):
        error = planned_weights(copy_of(read_metadata(path)), name) - dense
        errors.append(float((np.square(error) * importance[name]).sum()))
    assert errors[1] < errors[0]


def test_calibrating_on_a_text_needs_no_file_in_between(
    run_cli: RunCli, wide: Path, text: Path, tmp_path: Path
):
    out, kept = tmp_path / "out.gguf", tmp_path / "imatrix.gguf"
    arguments = ("quantize", wide, "--type", "IQ2_XS", "--calibrate", text, "--save-imatrix", kept, "-o")
    result = run_cli(*arguments, out)
    assert result.code == 0, result.err
    again = tmp_path / "again.gguf"
    assert run_cli("quantize", wide, "--type", "IQ2_XS", "--imatrix", kept, "-o", again).code == 0
    assert weights_of(again) == weights_of(out)
    assert "exists" in run_cli(*arguments, tmp_path / "third.gguf").err
    assert types_of(read_metadata(out))["blk.0.ffn_gate.weight"] == "IQ2_XS"
    recipe = read_recipe(read_metadata(out))
    assert recipe is not None
    assert recipe["steps"][-1]["importance"] == str(text)


def test_a_short_text_is_taken_as_far_as_it_goes_with_a_note(run_cli: RunCli, wide: Path, tmp_path: Path):
    short = tmp_path / "short.txt"
    short.write_text("The heron stood in the reeds. " * 60)
    out = tmp_path / "out.gguf"
    result = run_cli("quantize", wide, "--type", "Q4_0", "--calibrate", short, "-o", out)
    assert result.code == 0
    assert re.search(
        r"calibration text has \d+ tokens: \d windows of 512 are read in place of 32", result.err
    )
    short.write_text("The heron.")
    refused = run_cli("quantize", wide, "--type", "Q4_0", "--calibrate", short, "-o", tmp_path / "no.gguf")
    assert refused.code == 2
    assert "Give a longer text" in refused.err
    assert "--calibration-tokens" not in refused.err


def test_a_file_that_is_not_an_importance_matrix_is_refused(wide: Path):
    with pytest.raises(ModelFileError, match="is not an importance matrix"):
        read_imatrix(wide)


def test_the_recipe_goes_on_and_show_tells_it(run_cli: RunCli, wide: Path, tmp_path: Path):
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    assert run_cli("quantize", wide, "--type", "Q8_0", "-o", first).code == 0
    assert run_cli("quantize", first, "--type", "Q4_0", "-o", second).code == 0
    document = json.loads(run_cli("show", second, "--json").out)
    assert [step["type"] for step in document["recipe"]["steps"]] == ["Q8_0", "Q4_0"]
    assert document["recipe"]["source"]["name"] == "wide.gguf"
    assert (document["n_blocks"], document["n_ff"], document["quantization"]) == (3, 512, "Q4_0")
    assert document["size_bytes"] == second.stat().st_size
    shown = run_cli("show", second)
    assert "made from:     wide.gguf" in shown.out
    assert re.search("step 2: +quantize: .*type Q4_0", shown.out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--type", "Q4_9"), "'Q4_9' is not a type that llama.cpp writes. Near it: "),
        (("--type", "Q4_0", "--output-type", "Q9"), "--output-type 'Q9'"),
        (("--type", "Q4_0", "--tensor", "ffn_down"), "has no type"),
        (("--type", "Q4_0", "--tensor", "(=Q8_0"), "is not a regular expression"),
        (("--type", "IQ2_XS"), "needs an importance matrix"),
        (("--type", "IQ2_M"), "would become IQ2_S, which needs an importance matrix"),
        (("--type", "Q4_0", "--tensor", "ffn_down=IQ1_S"), "which needs an importance matrix"),
        (("--type", "Q4_0", "--imatrix", "a", "--calibrate", "b"), "give one of them"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    run_cli: RunCli, wide: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
):
    result = run_cli("quantize", wide, *arguments, "-o", tmp_path / "out.gguf")
    assert result.code == 2
    assert words.lower() in result.err.lower()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(run_cli: RunCli, wide: Path, tmp_path: Path):
    (tmp_path / "out.gguf").write_text("mine")
    result = run_cli("quantize", wide, "--type", "Q4_0", "-o", tmp_path / "out.gguf")
    assert (result.code, (tmp_path / "out.gguf").read_text()) == (2, "mine")


def test_a_source_that_is_quantized_already_comes_with_a_note(run_cli: RunCli, wide: Path, tmp_path: Path):
    first = tmp_path / "first.gguf"
    from_floats = run_cli("quantize", wide, "--type", "Q8_0", "-o", first, "--json")
    assert json.loads(from_floats.out)["note"] is None
    again = run_cli("quantize", first, "--type", "Q4_0", "--dry-run")
    assert "the source is Q8_0 already" in again.out


def test_the_speed_is_predicted_from_the_bytes_that_decoding_reads(
    run_cli: RunCli, wide: Path, tmp_path: Path
):
    out = tmp_path / "out.gguf"
    document = json.loads(run_cli("quantize", wide, "--type", "Q8_0", "-o", out, "--json").out)
    before, after = (
        sum(tensor.n_bytes for tensor in read_metadata(path).tensors if tensor.name != "token_embd.weight")
        for path in (wide, out)
    )
    assert "output.weight" in types_of(read_metadata(wide))
    assert document["predicted_speedup"] == pytest.approx(before / after)


@pytest.mark.parametrize("alignment", [8, 64])
def test_a_source_of_another_alignment_gives_the_same_weights(
    run_cli: RunCli, wide: Path, tmp_path: Path, alignment: int
):
    odd = make_tiny_model(tmp_path / "odd.gguf", shape=WIDE, alignment=alignment)
    for source, name in ((wide, "plain.gguf"), (odd, "copy.gguf")):
        result = run_cli("quantize", source, "--type", "Q4_K_M", "-o", tmp_path / name)
        assert (result.code, result.err) == (0, "")
    plain, copy = read_metadata(tmp_path / "plain.gguf"), read_metadata(tmp_path / "copy.gguf")
    assert "general.alignment" not in plain.fields
    assert copy.alignment == 32
    assert types_of(copy) == types_of(plain)
    for name in types_of(copy):
        assert bytes(planned_bytes(copy_of(copy), name)) == bytes(planned_bytes(copy_of(plain), name))
    cut = run_cli(
        "prune", odd, "--remove", "1", "--no-repair", "--quantize", "Q8_0", "-o", tmp_path / "cut.gguf"
    )
    assert (cut.code, cut.err) == (0, "")
    assert run_cli("run", tmp_path / "cut.gguf", "-p", "the", "-n", "2").code == 0


def test_a_split_source_becomes_one_file(run_cli: RunCli, wide: Path, tmp_path: Path):
    parts, out = split_in_two(wide, tmp_path / "parts"), tmp_path / "out.gguf"
    whole = tmp_path / "whole.gguf"
    assert run_cli("quantize", wide, "--type", "Q4_0", "-o", whole).code == 0
    result = run_cli("quantize", parts[0], "--type", "Q4_0", "-o", out)
    assert result.code == 0, result.err
    meta = read_metadata(out)
    assert len(meta.parts) <= 1
    assert types_of(meta) == types_of(read_metadata(whole))
    for name in types_of(meta):
        assert bytes(planned_bytes(copy_of(meta), name)) == bytes(
            planned_bytes(copy_of(read_metadata(whole)), name)
        )


def test_a_wrong_type_is_refused_before_anything_is_measured(run_cli: RunCli, wide: Path, tmp_path: Path):
    result = run_cli("quantize", wide, "--type", "Q4_9", "--calibrate", tmp_path / "absent.txt")
    assert "'Q4_9'" in result.err


def test_a_full_disk_is_said_before_the_work(
    run_cli: RunCli, wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("quant.gguf.writer.shutil.disk_usage", lambda _path: usage)
    result = run_cli("quantize", wide, "--type", "Q8_0", "-o", tmp_path / "out.gguf")
    assert result.code == 1
    assert "needs" in result.err
    assert list(tmp_path.iterdir()) == []
