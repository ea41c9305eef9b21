"""What writes no text is refused in one line by every command that wants some, before llama.cpp sees it."""

from pathlib import Path

import pytest

from edgespec.errors import ExitCode, ModelFileError
from edgespec.session import open_pair
from tests.catalog.gguf_files import KINDS_WITHOUT_TEXT, write_gguf
from tests.conftest import RunCli
from tests.tiny import make_tiny_model

COMMANDS = [
    ("run", "{}", "-p", "hello", "-n", "1"),
    ("plan", "{}", "--hardware", "h100"),
    ("eval", "{}"),
    ("bench", "{}", "--limit", "1"),
    ("bench", "{}", "--throughput"),
    ("tune", "{}"),
    ("pair", "{}"),
    ("quantize", "{}", "--type", "Q4_0", "--calibrate", "self"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command))
@pytest.mark.parametrize(
    ("options", "what"), KINDS_WITHOUT_TEXT, ids=[what for _, what in KINDS_WITHOUT_TEXT]
)
def test_it_is_refused_in_one_line_that_says_what_it_is(
    run_cli: RunCli, tmp_path: Path, command: tuple[str, ...], options: dict, what: str
):
    path = write_gguf(tmp_path / "odd.gguf", **options)
    result = run_cli(*(word.format(path) for word in command))
    assert (result.code, result.out) == (ExitCode.MODEL, "")
    assert what in result.err
    assert "writes no text token by token" in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_a_program_is_told_the_same(tmp_path: Path):
    path = write_gguf(tmp_path / "odd.gguf", architecture="llada")
    with pytest.raises(ModelFileError, match=r"odd is a diffusion model \('llada'\)"):
        open_pair(path)


def test_one_that_is_compared_with_is_refused_too(run_cli: RunCli, tmp_path: Path, tiny_model: Path):
    path = write_gguf(tmp_path / "odd.gguf", pooling=1)
    result = run_cli("eval", tiny_model, "--against", path)
    assert (result.code, "odd.gguf is an embedding model" in result.err) == (ExitCode.MODEL, True)


def test_pruning_that_reads_text_refuses_an_encoder_and_says_so_in_the_dry_run(
    run_cli: RunCli, tmp_path: Path
):
    path = make_tiny_model(tmp_path / "encoder.gguf", blocks=3, causal=False)
    for arguments in ((), ("--dry-run",)):
        result = run_cli("prune", path, "--blocks", "1", "-o", tmp_path / "out.gguf", *arguments)
        assert (result.code, "its attention is not causal" in result.err) == (ExitCode.MODEL, True)
    named = run_cli("prune", path, "--remove", "1", "--no-repair", "-o", tmp_path / "out.gguf")
    assert named.code == 0, named.err


@pytest.mark.parametrize(
    "options", [{"architecture": "clip", "blocks": 0}, {"blocks": 0}, {"weights": False}, {}]
)
def test_a_file_without_blocks_cannot_be_pruned(run_cli: RunCli, tmp_path: Path, options: dict):
    path = write_gguf(tmp_path / "flat.gguf", **options)
    for amount in ((), ("--blocks", "1"), ("--params", "1M"), ("--remove", "0"), ("--method", "flap")):
        result = run_cli("prune", path, *amount, "--dry-run")
        assert (result.code, result.out) == (ExitCode.MODEL, "")
        assert "flat.gguf has no blocks of weights that could be removed" in result.err


def test_a_file_without_weights_cannot_be_quantized_and_can_be_shown(run_cli: RunCli, tmp_path: Path):
    path = write_gguf(tmp_path / "empty.gguf", weights=False)
    result = run_cli("quantize", path, "--type", "Q4_0", "--dry-run")
    assert (result.code, "empty.gguf is a file without weights" in result.err) == (ExitCode.MODEL, True)
    assert run_cli("show", path).code == 0


@pytest.mark.parametrize("options", [{"weights": False}, {"pooling": 3}, {"architecture": "clip"}])
def test_plan_refuses_the_draft_that_run_refuses(
    run_cli: RunCli, tmp_path: Path, tiny_model: Path, options: dict
):
    path = write_gguf(tmp_path / "odd.gguf", **options)
    planned = run_cli("plan", tiny_model, "--draft", path, "--hardware", "h100")
    run = run_cli("run", tiny_model, "--draft", path, "-p", "hello")
    assert planned.code == run.code == ExitCode.MODEL
    assert planned.err == run.err
    assert "odd cannot draft for tiny: the draft is" in planned.err
