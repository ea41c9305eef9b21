"""What `edgespec quantize` is asked for single tensors: done, refused, or said, in the dry run and in the recipe too."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.errors import ExitCode
from quant.gguf.recipe import read_recipe
from quant.measure.activations import Moments
from quant.measure.imatrix import write_imatrix
from tests.conftest import RunCli
from tests.tiny import TinyShape, make_tiny_model

WIDE = TinyShape(blocks=2, embedding=256, heads=4, kv_heads=2, feed_forward=320)
"""Rows of 256 take K-quants, those of `ffn_down` do not."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("wide") / "wide.gguf", shape=WIDE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("F16", "--tensor", "attn_v=Q8_0"), "heeds patterns with a quantized --type only, and not with F16"),
        (("BF16", "--tensor", "attn_v=Q8_0"), "and not with BF16"),
        (("Q4_0", "--tensor", "attn_w=Q8_0"), "none of the 21 tensors has such a name"),
        (
            ("Q4_0", "--tensor", "attn_=Q8_0", "--tensor", "attn_v=Q5_0"),
            "--tensor attn_v=Q5_0 has no effect: attn_=Q8_0 stands before it and fits the same tensors. "
            "Put the narrower pattern first",
        ),
        (
            ("Q4_0", "--tensor", "ffn_down=Q4_K"),
            "blk.0.ffn_down.weight has rows of 320 weights, which Q4_K cannot",
        ),
        (("Q4_0", "--tensor", "attn_norm=Q8_0"), "blk.0.attn_norm.weight is not quantized by llama.cpp"),
        (
            ("Q4_0", "--output-type", "Q8_0", "--tensor", "^output.weight=Q5_0"),
            "output.weight is not quantized by llama.cpp, or has a type by --output-type",
        ),
    ],
)
def test_a_pattern_without_effect_is_refused_by_the_dry_run_and_by_the_run(
    run_cli: RunCli, wide: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
):
    for dry in ((), ("--dry-run",)):
        result = run_cli("quantize", wide, "--type", *arguments, "-o", tmp_path / "out.gguf", *dry)
        assert (result.code, result.out) == (ExitCode.USAGE, "")
        assert words in result.err
        assert len(result.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_pattern_without_effect_is_refused_before_anything_is_measured(
    run_cli: RunCli, wide: Path, tmp_path: Path
):
    arguments = ("--type", "Q4_0", "--tensor", "attn_w=Q8_0", "--calibrate", tmp_path / "absent.txt")
    assert "has no effect" in run_cli("quantize", wide, *arguments).err


def test_the_first_pattern_that_fits_counts_and_the_next_takes_the_rest(
    run_cli: RunCli, wide: Path, tmp_path: Path
):
    out = tmp_path / "out.gguf"
    wishes = ("--tensor", r"blk\.0\.attn_v=Q5_0", "--tensor", "attn_v=Q8_0")
    result = run_cli("quantize", wide, "--type", "Q4_0", *wishes, "-o", out, "--json")
    assert (result.code, json.loads(result.out)["warnings"]) == (0, [])
    types = {tensor.name: tensor.ggml_type for tensor in read_metadata(out).tensors}
    assert [types[f"blk.{block}.attn_v.weight"] for block in (0, 1)] == ["Q5_0", "Q8_0"]
    recipe = read_recipe(read_metadata(out))
    assert recipe is not None
    assert "overrides_unmet" not in recipe["steps"][-1]


def test_a_pattern_that_some_tensors_cannot_follow_is_said_everywhere(
    run_cli: RunCli, wide: Path, tmp_path: Path
):
    out = tmp_path / "out.gguf"
    arguments = ("quantize", wide, "--type", "Q8_0", "--tensor", "ffn_=Q4_K", "-o", out)
    warning = "--tensor ffn_=Q4_K does not fit blk.0.ffn_down.weight and 1 more, which becomes Q5_0"
    for dry in (("--dry-run",), ()):
        result = run_cli(*arguments, *dry)
        assert (result.code, warning in result.out) == (0, True)
    types = {tensor.name: tensor.ggml_type for tensor in read_metadata(out).tensors}
    assert (types["blk.0.ffn_down.weight"], types["blk.0.ffn_up.weight"]) == ("Q5_0", "Q4_K")
    recipe = read_recipe(read_metadata(out))
    assert recipe is not None
    assert recipe["steps"][-1]["overrides_unmet"] == {
        "ffn_=Q4_K": ["blk.0.ffn_down.weight", "blk.1.ffn_down.weight"]
    }
    assert json.loads(run_cli(*arguments, "--force", "--json").out)["warnings"] == [warning]


def test_a_type_whose_blocks_the_rows_do_not_fill_is_refused_for_output_and_embeddings(
    run_cli: RunCli, tiny_model: Path
):
    for flag, name in (("--embedding-type", "token_embd.weight"), ("--output-type", "output.weight")):
        result = run_cli("quantize", tiny_model, "--type", "Q8_0", flag, "Q4_K", "--dry-run")
        assert result.code == ExitCode.USAGE
        assert f"{name} has rows of 64 weights, which Q4_K cannot store" in result.err


def write_matrix(path: Path, widths: dict[str, int]) -> Path:
    moments = {name: Moments(10, np.zeros(n), np.ones(n)) for name, n in widths.items()}
    write_imatrix(path, moments, dataset="made up", n_ctx=10)
    return path


def widths_of(model: Path) -> dict[str, int]:
    """Of the weights of a model's blocks."""
    tensors = read_metadata(model).tensors
    return {
        tensor.name: tensor.shape[0]
        for tensor in tensors
        if tensor.name.startswith("blk.") and len(tensor.shape) > 1
    }


def test_the_importance_of_this_model_is_taken_without_a_word(run_cli: RunCli, wide: Path, tmp_path: Path):
    matrix = write_matrix(tmp_path / "own.gguf", widths_of(wide))
    result = run_cli("quantize", wide, "--type", "Q4_0", "--imatrix", matrix, "--dry-run", "--json")
    assert json.loads(result.out)["warnings"] == []


def test_the_importance_of_another_width_is_refused_with_counts(run_cli: RunCli, wide: Path, tmp_path: Path):
    widths = {name: 2 * n for name, n in widths_of(wide).items()}
    matrix = write_matrix(tmp_path / "other.gguf", widths)
    for dry in ((), ("--dry-run",)):
        result = run_cli(
            "quantize", wide, "--type", "Q4_0", "--imatrix", matrix, "-o", tmp_path / "out.gguf", *dry
        )
        assert (result.code, result.out) == (ExitCode.USAGE, "")
        assert "of another model: 14 of its 14 entries have another width, such as blk.0." in result.err
    assert not (tmp_path / "out.gguf").exists()


def test_the_importance_of_another_architecture_is_refused(run_cli: RunCli, wide: Path, tmp_path: Path):
    matrix = write_matrix(tmp_path / "other.gguf", {"layers.0.down": 320, "layers.1.down": 320})
    result = run_cli("quantize", wide, "--type", "Q4_0", "--imatrix", matrix, "--dry-run")
    assert result.code == ExitCode.USAGE
    assert "2 of its 2 entries name weights that wide.gguf lacks" in result.err


def test_the_importance_of_a_deeper_or_a_shallower_model_is_taken_with_a_warning(
    run_cli: RunCli, wide: Path, tmp_path: Path
):
    own = widths_of(wide)
    deeper = {**own, "blk.2.ffn_up.weight": 256}
    shallower = {name: n for name, n in own.items() if name.startswith("blk.0.")}
    for widths, words in (
        (
            deeper,
            "1 of the 15 entries of the importance matrix name weights that the model lacks, such as blk.2.",
        ),
        (
            shallower,
            "the importance matrix says nothing of 7 of the 14 weights that are quantized, such as blk.1.",
        ),
    ):
        matrix = write_matrix(tmp_path / f"matrix{len(widths)}.gguf", widths)
        result = run_cli("quantize", wide, "--type", "Q4_0", "--imatrix", matrix, "--dry-run", "--json")
        assert result.code == 0, result.err
        (warning,) = json.loads(result.out)["warnings"]
        assert words in warning


def test_a_type_that_needs_importance_for_a_weight_that_has_none_is_refused_by_the_dry_run(
    run_cli: RunCli, wide: Path, tmp_path: Path
):
    widths = {name: n for name, n in widths_of(wide).items() if "attn_q" not in name}
    matrix = write_matrix(tmp_path / "part.gguf", widths)
    result = run_cli("quantize", wide, "--type", "IQ2_XS", "--imatrix", matrix, "--dry-run")
    assert result.code == ExitCode.USAGE
    assert (
        "blk.0.attn_q.weight would become IQ2_XS, which needs an importance matrix, and the one" in result.err
    )
