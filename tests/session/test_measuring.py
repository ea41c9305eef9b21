"""A process that is ended while it measures a pair on a device: the next one goes on without drafts, and says so.

The device is that of a server on loopback, and the process is ended by a signal that it sends itself.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgespec.errors import ExitCode
from edgespec.locks import is_left_behind, locked
from edgespec.paths import costs_dir
from tests.cli.processes import needs_signals, start
from tests.rpc_server import server

_ENDED = """
import os, signal, sys
from edgespec.llama.rpc import parse_endpoints
from edgespec.session import EngineSettings, open_pair
from tests.recorded_progress import RecordedProgress

def watch(done, label):
    if label.startswith("measuring") and done:
        os.kill(os.getpid(), signal.SIGSEGV)

settings = EngineSettings(n_threads=1, n_ctx=512, rpc=parse_endpoints(sys.argv[3]))
open_pair(sys.argv[1], sys.argv[2], settings=settings, progress=RecordedProgress(watch=watch))
"""


def end_while_measuring(target: Path, draft: Path | str, address: str) -> int:
    command = [sys.executable, "-c", _ENDED, str(target), str(draft), address]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=environment, timeout=120, check=False).returncode


def run(*arguments: str | Path) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out.decode(), err.decode()


def notes() -> list[Path]:
    return sorted(costs_dir().glob("*.measuring"))


@needs_signals
def test_the_next_process_drafts_nothing_and_says_why_until_its_note_is_gone(
    tiny_model: Path, tiny_draft: Path, tmp_path: Path
):
    prompts = tmp_path / "prompts.jsonl"
    with server() as (_, address):
        asked = (
            "run",
            tiny_model,
            "-p",
            "hi",
            "-n",
            "12",
            "--draft",
            tiny_draft,
            "--rpc",
            address,
            "--stats",
        )
        assert end_while_measuring(tiny_model, tiny_draft, address) < 0
        (note,) = notes()
        code, told, err = run(*asked)
        assert (code, bool(told)) == (0, True), err
        (warning,) = [line for line in err.splitlines() if "warning" in line]
        assert "did not survive measuring tiny-draft" in warning
        assert "--gpu-layers 0" in warning
        assert str(note) in warning
        assert "speculation off: a process did not survive measuring tiny-draft on its device" in err
        assert notes() == [note]
        assert not list(costs_dir().glob("*.json"))

        prompts.write_text('{"question_id": 1, "category": "writing", "turns": ["hi"]}\n', encoding="utf-8")
        bench = ("bench", tiny_model, "--draft", tiny_draft, "--rpc", address, "--prompts", prompts)
        code, out, err = run(*bench, "-r", "1", "-n", "8")
        assert (code, out) == (ExitCode.FAILED, ""), err
        assert "there is nothing to compare" in err.splitlines()[-1]

        note.unlink()
        code, again, err = run(*asked)
        assert (code, again) == (0, told), err
        assert "warning" not in err
        assert notes() == []
        (kept,) = costs_dir().glob("*.json")
        assert len(json.loads(kept.read_text(encoding="utf-8"))["verify_s"]) > 1


@needs_signals
def test_after_a_day_it_is_tried_again(tiny_model: Path):
    with server() as (_, address):
        assert end_while_measuring(tiny_model, "ngram", address) < 0
        (note,) = notes()
        before = time.time() - 25 * 3600
        os.utime(note, (before, before))
        code, _, err = run("run", tiny_model, "-p", "hi", "-n", "4", "--draft", "ngram", "--rpc", address)
    assert code == 0, err
    assert "warning" not in err
    assert notes() == []


@needs_signals
def test_other_placements_of_the_same_models_are_measured(tiny_model: Path):
    with server() as (_, address):
        assert end_while_measuring(tiny_model, "ngram", address) < 0
        asked = ("run", tiny_model, "-p", "hi", "-n", "4", "--draft", "ngram")
        for placed in (("--rpc", address, "--gpu-layers", "1"), ("--rpc", address, "--gpu-layers", "0"), ()):
            code, _, err = run(*asked, *placed)
            assert code == 0, err
            assert "warning" not in err, placed
    assert len(notes()) == 1


def test_only_a_file_whose_holder_is_gone_is_left_behind(tmp_path: Path):
    file = tmp_path / "some" / "note"
    assert not is_left_behind(file)
    with locked(file):
        assert not is_left_behind(file)
    assert not is_left_behind(file)
    file.write_bytes(b"")
    assert is_left_behind(file)
    assert is_left_behind(file), "who looks takes nothing away"


def test_a_measuring_that_fails_leaves_nothing(tmp_path: Path):
    file = tmp_path / "note"
    with pytest.raises(KeyboardInterrupt), locked(file):
        raise KeyboardInterrupt
    assert not file.exists()
