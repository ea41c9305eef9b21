"""`edgespec bench` on tiny models: the contract, what is on which stream, what is kept, and how it fails."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from edgespec.bench.store import ResultStore
from edgespec.paths import results_dir
from tests.bench.wrong_tokens import accept_wrong_tokens
from tests.cli.conftest import SHORT
from tests.conftest import RunCli
from tests.session.single_thread import one_thread

__all__ = ["one_thread"]
ARMS = ["plain", "tiny-draft", "ngram", "auto"]


def test_json_keeps_the_contract(bench: RunCli):
    result = bench("--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert {
        "schema",
        "env",
        "target",
        "arms",
        "geomean_speedup",
        "audit",
        "calibration",
        "run_id",
        "complete",
    } <= set(document)
    assert document["schema"] == "edgespec.bench/1"
    assert (document["target"], document["complete"]) == ("tiny", True)
    assert [arm["name"] for arm in document["arms"]] == ARMS
    for arm in document["arms"]:
        assert {
            "name",
            "draft",
            "tok_per_s",
            "tok_per_s_sd",
            "speedup",
            "speedup_sd",
            "acceptance",
            "mean_accepted_len",
            "ttft_s",
            "prompt_tok_per_s",
            "peak_memory_bytes",
            "by_category",
            "samples",
        } <= set(arm)
        assert set(arm["by_category"]) == {"writing", "math"}
        for figures in arm["by_category"].values():
            assert set(figures) == {"tok_per_s", "speedup", "speedup_low", "speedup_high"}
        assert [sample["prompt_id"] for sample in arm["samples"]] == ["81", "82", "401"] * 2
        assert all(sample["predicted_n"] == 16 for sample in arm["samples"])
        assert arm["tok_per_s"] > 0
    assert list(document["geomean_speedup"]) == ARMS
    assert document["geomean_speedup"]["plain"] == 1.0
    assert document["regret"] is None
    assert document["audit"]["compared"] == document["audit"]["identical"] == 3 * 3 * 2
    assert document["audit"]["first_differences"] == []
    assert set(document["calibration"]) == {"t_d_s", "t_v_s"}
    assert {"1", "2", "4"} <= set(document["calibration"]["t_v_s"])
    assert all(seconds > 0 for seconds in document["calibration"]["t_v_s"].values())


def test_the_saved_run_is_the_printed_one(bench: RunCli, run_cli: RunCli):
    printed = bench("--json").out
    run_id = json.loads(printed)["run_id"]
    assert [path.name for path in results_dir().iterdir()] == [f"{run_id}.json"]
    assert run_cli("results", "show", "latest", "--json").out == printed
    shown = run_cli("results", "show", run_id)
    assert (shown.code, shown.err.count("Traceback")) == (0, 0)
    assert f"tiny ({run_id})" in shown.out


def test_the_table_names_every_arm_and_ends_with_the_verdict(bench: RunCli):
    result = bench()
    assert result.code == 0
    run = ResultStore(results_dir()).load("latest")
    assert result.out.startswith(f"tiny ({run.run_id})\n")
    for name in ARMS:
        assert re.search(rf"^\W*{name}\b", result.out, re.MULTILINE)
    for category in ("writing", "math"):
        assert category in result.out
    assert re.search(r"\d\.\d{2,}x", result.out.splitlines()[-1])
    assert all(line.startswith("note: ") for line in result.err.splitlines())


def test_csv_has_a_line_for_every_arm_and_category(bench: RunCli):
    result = bench("--csv")
    assert (result.code, result.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    found = [(row["arm"], row["category"], row["samples"]) for row in rows]
    assert found == [
        (name, *figures) for name in ARMS for figures in (("all", "6"), ("writing", "4"), ("math", "2"))
    ]
    assert all(float(row["tok_per_s"]) > 0 for row in rows)


def test_markdown_is_a_table_with_a_line_for_every_arm(bench: RunCli):
    result = bench("--markdown")
    assert (result.code, result.err) == (0, "")
    lines = [line for line in result.out.splitlines() if line.startswith("|")]
    assert re.fullmatch(r"\|[\s:|-]+\|", lines[1])
    for name in ARMS:
        assert any(f"| {name} " in line for line in lines)


@pytest.mark.parametrize(("name", "magic"), [("out.png", b"\x89PNG\r\n\x1a\n"), ("out.svg", b"<?xml")])
def test_a_plot_is_drawn_beside_the_result(bench: RunCli, tmp_path: Path, name: str, magic: bytes):
    path = tmp_path / name
    result = bench("--json", "--plot", path)
    assert result.code == 0
    assert result.err == f"plot: {path}\n"
    assert json.loads(result.out)["complete"]
    assert path.read_bytes().startswith(magic)
    assert path.stat().st_size > 2000


def test_another_kind_of_plot_is_refused_before_anything_is_measured(bench: RunCli, tmp_path: Path):
    result = bench("--plot", tmp_path / "out.bmp")
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert "out.bmp" in result.err
    assert not results_dir().exists()


# What is run


def test_category_and_limit_choose_prompts(bench: RunCli):
    document = json.loads(bench("--json", "--category", "writing", "--limit", "1").out)
    assert {sample["prompt_id"] for arm in document["arms"] for sample in arm["samples"]} == {"81"}
    document = json.loads(bench("--json", "--limit", "1").out)
    assert {sample["prompt_id"] for arm in document["arms"] for sample in arm["samples"]} == {"81", "401"}


def test_several_drafts_are_several_arms(bench: RunCli, tiny_bpe: Path):
    document = json.loads(bench("--json", "--draft", tiny_bpe).out)
    assert [arm["name"] for arm in document["arms"]] == [
        "plain",
        "tiny-draft",
        "tiny-bpe",
        "ngram",
        "auto",
    ]
    assert set(document["calibration"]["t_d_s"]) == {"tiny-draft", "tiny-bpe"}


def test_without_a_draft_the_text_itself_is_measured(run_cli: RunCli, tiny_model: Path, prompts: Path):
    result = run_cli("bench", tiny_model, "--prompts", prompts, *SHORT, "--json")
    assert [arm["name"] for arm in json.loads(result.out)["arms"]] == ["plain", "ngram", "auto"]


def test_the_second_turn_of_a_prompt_is_not_asked(bench: RunCli, tiny_model: Path):
    from edgespec.llama.model import Model

    with Model(tiny_model) as model:
        asked = len(model.tokenize("<user>the cat and the hat\n<assistant>"))
    document = json.loads(bench("--json", "--category", "writing", "--limit", "1").out)
    assert document["arms"][0]["samples"][0]["prompt_n"] == asked


def test_settings_are_recorded(bench: RunCli):
    document = json.loads(bench("--json", "--temperature", "0.5", "--seed", "9", "--threads", "1").out)
    assert document["settings"]["max_tokens"] == 16
    assert document["settings"]["repeat"] == 2
    assert document["settings"]["sampling"]["temperature"] == 0.5
    assert document["settings"]["sampling"]["seed"] == 9
    assert document["env"]["n_threads"] == 1


@pytest.mark.model
def test_the_embedded_model_is_measured_on_the_prompts_of_the_package(
    run_cli: RunCli, home_with_smollm2: Path
):
    categories = ("--category", "chat", "--category", "edit")
    result = run_cli("bench", *categories, "-r", "1", "-n", "16", "--json", "--offline")
    assert result.code == 0
    document = json.loads(result.out)
    assert document["target"] == "smollm2-135m"
    assert [arm["name"] for arm in document["arms"]] == ["plain", "ngram", "auto"]
    assert document["audit"]["compared"] == 4
    # The edited text is given back word by word, and nobody asked for that of the other answer.
    assert {name: one["copies"] for name, one in document["categories"].items()} == {
        "chat": False,
        "edit": True,
    }
    assert document["audit"]["failed"] is False
    plain = document["arms"][0]
    assert plain["samples"][0]["category"] == "chat"
    assert plain["peak_memory_bytes"] > 90_000_000


# Errors


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--category", "maths"], "no prompt has the category 'maths'. Did you mean 'math'? There are: writing, math"),
        (["--limit", "0"], "Invalid value for '--limit': 0 is not in the range x>=1. Try 'edgespec bench --help'"),
        (
            ["-n", "1"],
            "Invalid value for '-n' / '--max-tokens': 1 is not in the range x>=2. Try 'edgespec bench --help'",
        ),
        (["--temperature", "11"], "--temperature 11.0 is out of range. Use 0 (greedy) to 10"),
        (["-c", "64"], "the prompt has {size} tokens and the context {n_ctx}. Use a larger --ctx-size or a shorter prompt"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_nothing_is_saved(
    bench: RunCli, prompts: Path, arguments: list[str], line: str
):
    with prompts.open("a", encoding="utf-8") as file:
        if "-c" in arguments:
            file.write(json.dumps({"prompt": "x" * 300}) + "\n")
    result = bench(*arguments)
    assert (result.code, result.out) == (2, "")
    pattern = re.escape("edgespec: " + line).replace(r"\{size\}", r"\d+").replace(r"\{n_ctx\}", r"\d+")
    assert re.fullmatch(pattern + "\n", result.err)
    assert not results_dir().exists()


def test_a_prompts_file_that_is_not_there_is_wrong_usage(bench: RunCli, tmp_path: Path):
    result = bench("--prompts", tmp_path / "none.jsonl")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"edgespec: cannot read the prompts file {tmp_path / 'none.jsonl'}: ")


def test_an_arm_that_accepts_wrong_tokens_fails_the_run_loudly(
    bench: RunCli, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
):
    accept_wrong_tokens(monkeypatch, "ngram")
    result = bench("--json")
    assert result.code == 1
    document = json.loads(result.out)
    assert document["audit"]["failed"] is True
    large = [difference for difference in document["audit"]["first_differences"] if difference["large"]]
    worst = max(large, key=lambda difference: difference["logit_gap"])
    assert worst["arm"] == "ngram"
    assert result.err == (
        f"edgespec: the equality audit failed: arm ngram left the plain text of prompt {worst['prompt_id']} at "
        f"token {worst['position']}, where the plain choice led by {worst['logit_gap']:.2f} logits. Please "
        f"report this run: edgespec results show {document['run_id']} --json\n"
    )
    assert json.loads(run_cli("results", "show", "latest", "--json").out)["audit"]["failed"] is True
