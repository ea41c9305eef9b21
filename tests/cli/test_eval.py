"""`edgespec eval`: only the result on stdout, and one line for every error."""

import json
from pathlib import Path

import pytest

from edgespec.text import human_bytes, one_line
from quant.measure import evaluate as evaluate_module
from quant.measure.evaluate import evaluate
from tests.conftest import RunCli

TEXT = "the rain in the land of the hen and the ant is on the tree; " * 12
HINT = "Give a UTF-8 text file to --text, or leave it out for the built-in prompts"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_module, "default_threads", lambda: 1)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode() + b"\n")
    return path


def test_the_result_and_nothing_else_is_on_stdout(run_cli: RunCli, tiny_model: Path, text: Path):
    result = run_cli("eval", tiny_model, "--text", text, "--chunks", "2", "-c", "64")
    found = evaluate(tiny_model, TEXT, n_chunks=2, n_ctx=64)
    size = human_bytes(tiny_model.stat().st_size)
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        f"model:       tiny, llama F32, {size}\n"
        f"text:        {text}: 2 chunks of 64 tokens, 62 of them scored (the second halves)\n"
        f"perplexity:  {found.perplexity:.4f} ± {found.perplexity_se:.4f}\n"
        f"sample:      {one_line(found.sample)}\n"
    )


def test_a_model_against_itself(run_cli: RunCli, tiny_model: Path, text: Path):
    result = run_cli("eval", tiny_model, "--against", tiny_model, "--text", text, "-c", "64", "--chunks", "2")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    perplexity = lines[2].split()[1]
    size = human_bytes(tiny_model.stat().st_size)
    assert lines[3:6] == [
        f"against:     tiny, llama F32, {size}, perplexity {perplexity}",
        "divergence:  0.00000 ± 0.00000 nats, 99 % of the tokens below 0.00000",
        "agreement:   100.00% of the most likely tokens",
    ]


def test_json_has_every_figure(run_cli: RunCli, tiny_model: Path, tiny_draft: Path, text: Path):
    arguments = ("--text", text, "-c", "64", "--chunks", "2", "--json")
    result = run_cli("eval", tiny_draft, "--against", tiny_model, *arguments)
    assert (result.code, result.err) == (0, "")
    found = evaluate(tiny_draft, TEXT, against=tiny_model, n_chunks=2, n_ctx=64)
    assert found.distance is not None
    assert json.loads(result.out) == {
        "schema": "edgespec.eval/1",
        "model": {
            "name": "tiny-draft",
            "path": str(tiny_draft),
            "size_bytes": tiny_draft.stat().st_size,
        },
        "against": {"name": "tiny", "path": str(tiny_model), "size_bytes": tiny_model.stat().st_size},
        "text": str(text),
        "n_ctx": 64,
        "perplexity": found.perplexity,
        "perplexity_se": found.perplexity_se,
        "n_chunks": 2,
        "n_tokens": 62,
        "distance": {
            "dense_perplexity": found.distance.dense_perplexity,
            "kl_mean": found.distance.kl_mean,
            "kl_se": found.distance.kl_se,
            "kl_p99": found.distance.kl_p99,
            "top1_agreement": found.distance.top1_agreement,
        },
        "sample": found.sample,
    }


def test_without_a_text_the_prompts_of_the_package_serve(run_cli: RunCli, tiny_model: Path):
    result = run_cli("eval", tiny_model, "--chunks", "2", "--json")
    document = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert (document["text"], document["against"], document["distance"]) == (
        "the built-in prompts",
        None,
        None,
    )
    assert (document["n_chunks"], document["n_tokens"]) == (2, 510)


def test_a_text_that_is_too_short(run_cli: RunCli, tiny_bpe: Path, tmp_path: Path):
    path = tmp_path / "short.txt"
    path.write_text("x" * 100)
    result = run_cli("eval", tiny_bpe, "--text", path)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "edgespec: the text has 100 tokens, 924 fewer than two chunks of 512. "
        "Give a longer text or a smaller context\n"
    )


def test_a_text_that_is_not_there(run_cli: RunCli, tiny_model: Path, tmp_path: Path):
    path = tmp_path / "none.txt"
    result = run_cli("eval", tiny_model, "--text", path)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"edgespec: cannot read the text {path}: No such file or directory. {HINT}\n"


def test_a_text_that_is_not_text(run_cli: RunCli, tiny_model: Path, tmp_path: Path):
    path = tmp_path / "bytes.txt"
    path.write_bytes(b"abc\xff")
    result = run_cli("eval", tiny_model, "--text", path)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"edgespec: {path} is not UTF-8 text (byte 3). {HINT}\n"


@pytest.mark.parametrize("place", ["model", "against"])
def test_a_model_that_is_not_there(run_cli: RunCli, tiny_model: Path, tmp_path: Path, place: str):
    missing = tmp_path / "missing.gguf"
    models = [missing] if place == "model" else [tiny_model, "--against", missing]
    result = run_cli("eval", *models)
    assert (result.code, result.out) == (3, "")
    assert result.err.startswith(f"edgespec: the file {missing} does not exist")


def test_a_model_of_another_vocabulary(run_cli: RunCli, tiny_model: Path, tiny_bpe: Path):
    result = run_cli("eval", tiny_model, "--against", tiny_bpe)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "edgespec: tiny.gguf and tiny-bpe.gguf do not read the text as the same tokens. "
        "Compare a model with the one that it was made from\n"
    )


def test_own_answers_are_those_of_the_dense_model(run_cli: RunCli, tiny_model: Path, tiny_draft: Path):
    arguments = ("--text", "self", "--chunks", "3", "-c", "64", "--json")
    against = run_cli("eval", tiny_draft, "--against", tiny_model, *arguments)
    alone = run_cli("eval", tiny_model, *arguments)
    assert (against.code, against.err, alone.code, alone.err) == (0, "", 0, "")
    distance, dense = json.loads(against.out), json.loads(alone.out)
    assert distance["text"] == dense["text"] == "own answers of tiny"
    assert (distance["n_chunks"], distance["n_tokens"]) == (3, 93)
    assert distance["distance"]["dense_perplexity"] == pytest.approx(dense["perplexity"])
    assert distance["perplexity"] > dense["perplexity"]


def test_own_answers_need_the_same_vocabulary(run_cli: RunCli, tiny_model: Path, tiny_bpe: Path):
    result = run_cli("eval", tiny_bpe, "--against", tiny_model, "--text", "self", "--chunks", "2", "-c", "64")
    assert (result.code, result.out) == (2, "")
    assert "do not read the text as the same tokens" in result.err
