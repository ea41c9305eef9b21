"""`edgespec bench` stopped before its end, and what it shows of its progress."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgespec.bench.document import from_json
from edgespec.bench.result import Audit, Difference
from edgespec.cli.bench import _show
from edgespec.cli.context import Settings
from edgespec.cli.result_view import OutputOptions
from edgespec.paths import results_dir
from edgespec.session.engine import Engine
from tests.bench.runs import run as finished_run
from tests.cli.conftest import SHORT
from tests.cli.processes import interrupt, needs_signals, start
from tests.conftest import RunCli
from tests.session.single_thread import one_thread

__all__ = ["one_thread"]


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
    assert result.err == "edgespec: interrupted before the first prompt was finished; nothing kept\n"
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
    for stage in (b"looking for the models", b"loading", b"384/384"):
        assert stage in shown


def test_without_a_terminal_there_is_no_progress(bench: RunCli):
    assert bench("--json").err == ""
