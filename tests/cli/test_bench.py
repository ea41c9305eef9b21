"""`edgespec bench` on tiny models: the contract, what is on which stream, what is kept, and how it fails."""

import csv
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgespec.bench.document import from_json
from edgespec.bench.result import Audit, Difference
from edgespec.bench.store import ResultStore
from edgespec.cli.bench import _show
from edgespec.cli.context import Settings
from edgespec.cli.result_view import OutputOptions
from edgespec.paths import results_dir
from edgespec.session.engine import Engine
from tests.bench.runs import run as finished_run
from tests.bench.wrong_tokens import accept_wrong_tokens
from tests.cli.processes import interrupt, needs_signals, start
from tests.session.single_thread import one_thread

RunCli = Callable[..., Any]
__all__ = ["one_thread"]
ARMS = ["vanilla", "tiny-draft", "ngram", "auto"]
SHORT = ("-r", "2", "-n", "16")

SPEC_BENCH = """\
{"question_id": 81, "category": "writing", "turns": ["the cat and the hat", "a second turn"]}
{"question_id": 82, "category": "writing", "turns": ["the sea and the sand"]}

{"question_id": 401, "category": "math", "turns": ["1 2 3 4 1 2 3 4 1 2 3"]}
"""


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Three prompts of two categories in Spec-Bench's form."""
    path = tmp_path / "prompts.jsonl"
    path.write_text(SPEC_BENCH, encoding="utf-8")
    return path


@pytest.fixture
def bench(run_cli: RunCli, tiny_model: Path, tiny_draft: Path, prompts: Path) -> RunCli:
    """Runs `edgespec bench` on the tiny pair and the three prompts."""

    def run(*arguments: str | Path) -> Any:
        return run_cli("bench", tiny_model, "--draft", tiny_draft, "--prompts", prompts, *SHORT, *arguments)

    return run


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
        assert all(set(figures) == {"tok_per_s", "speedup"} for figures in arm["by_category"].values())
        assert [sample["prompt_id"] for sample in arm["samples"]] == ["81", "82", "401"] * 2
        assert all(sample["predicted_n"] == 16 for sample in arm["samples"])
        assert arm["tok_per_s"] > 0
    assert list(document["geomean_speedup"]) == ARMS
    assert document["geomean_speedup"]["vanilla"] == 1.0
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
        "vanilla",
        "tiny-draft",
        "tiny-bpe",
        "ngram",
        "auto",
    ]
    assert set(document["calibration"]["t_d_s"]) == {"tiny-draft", "tiny-bpe"}


def test_without_a_draft_the_text_itself_is_measured(run_cli: RunCli, tiny_model: Path, prompts: Path):
    result = run_cli("bench", tiny_model, "--prompts", prompts, *SHORT, "--json")
    assert [arm["name"] for arm in json.loads(result.out)["arms"]] == ["vanilla", "ngram", "auto"]


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
    result = run_cli("bench", "--category", "chat", "-r", "1", "-n", "16", "--json", "--offline")
    assert result.code == 0
    document = json.loads(result.out)
    assert document["target"] == "smollm2-135m"
    assert [arm["name"] for arm in document["arms"]] == ["vanilla", "ngram", "auto"]
    assert document["audit"]["compared"] == 2
    assert document["audit"]["failed"] is False
    vanilla = document["arms"][0]
    assert vanilla["samples"][0]["category"] == "chat"
    assert vanilla["peak_memory_bytes"] > 90_000_000


# Errors


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--category", "maths"], "no prompt has the category 'maths'. Did you mean 'math'? There are: writing, math."),
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


# Interruptions and progress


@pytest.fixture
def many_prompts(tmp_path: Path) -> Path:
    path = tmp_path / "many.jsonl"
    lines = [json.dumps({"prompt": f"the cat number {number}"}) for number in range(400)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_an_interrupted_run_with_a_failed_audit_says_both(capsys: pytest.CaptureFixture[str]):
    large = Difference("auto", "chat-1", 0, 7, 11, 12, 2.5, True)
    result = finished_run(complete=False, audit=Audit(18, 17, (large,)))
    assert _show(result, OutputOptions("json", None), Settings()) == 130
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("edgespec: the equality audit failed: arm auto left the plain text of prompt")
    assert lines[1:] == [f"edgespec: interrupted; the finished prompts are kept as {result.run_id}"]


@needs_signals
def test_ctrl_c_keeps_what_was_finished(
    run_cli: RunCli, tiny_model: Path, tiny_draft: Path, many_prompts: Path
):
    arguments = [
        "-r",
        "100",
        "-n",
        "64",
        "-t",
        "1",
        "--draft",
        tiny_draft,
        "--prompts",
        many_prompts,
        "--json",
    ]
    process = start("bench", tiny_model, *arguments)
    while not list(results_dir().glob("*.json")):
        assert process.poll() is None
        time.sleep(0.02)
    code, out, err = interrupt(process)
    document = json.loads(out)
    assert code == 130
    assert err == f"edgespec: interrupted; the finished prompts are kept as {document['run_id']}\n"
    assert document["complete"] is False
    counts = {len(arm["samples"]) for arm in document["arms"]}
    assert len(counts) == 1
    assert 0 < counts.pop() < 40_000
    assert run_cli("results", "show", "latest", "--json").out == out
    assert ", not finished)" in run_cli("results", "show", "latest").out
    assert from_json(out).audit.compared == 3 * len(document["arms"][0]["samples"])


def test_ctrl_c_before_the_first_prompt_keeps_nothing(bench: RunCli, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "measure_costs", interrupted)
    result = bench("--json")
    assert (result.code, result.out) == (130, "")
    assert result.err == "edgespec: interrupted before the first prompt was finished; nothing was kept\n"
    assert not results_dir().exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal made by the system")
def test_progress_is_on_the_terminal_and_never_on_stdout(
    tiny_model: Path, tiny_draft: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
):
    import pty

    monkeypatch.setenv("TERM", "xterm")
    terminal, child_side = pty.openpty()
    arguments = ["--draft", tiny_draft, "--prompts", prompts, *SHORT, "-t", "1", "--json"]
    process = start("bench", tiny_model, *arguments, stderr=child_side)
    os.close(child_side)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other side is closed (Linux says so with an error)
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["complete"] is True
    assert b"\x1b" not in out
    for stage in (b"looking for the models", b"loading", b"24/24"):
        assert stage in shown


def test_without_a_terminal_there_is_no_progress(bench: RunCli):
    assert bench("--json").err == ""
