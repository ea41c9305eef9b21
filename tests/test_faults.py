"""Faults on purpose, in short: `make faults` runs the same trials for as long as it is given."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scripts.faults.chats import Chats, End
from scripts.faults.home import Home
from scripts.faults.layer import Fault, Kind, Layer, compile_layer
from scripts.faults.pipes import streams
from scripts.faults.process import run
from scripts.faults.trials import Bench
from scripts.faults.work import Inputs, Work

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="the layer of faults is made for Linux, by a C compiler",
)
WRITER = (
    "import os; f = open('file', 'wb', 0); [f.write(b'x' * 100) for _ in range(10)]; os.fsync(f.fileno())"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults").resolve()


@pytest.fixture(scope="module")
def library(folder: Path) -> Path:
    return compile_layer(folder)


@pytest.fixture(scope="module")
def inputs(folder: Path) -> Iterator[Inputs]:
    with closing(Inputs(folder / "inputs")) as made:
        yield made


@pytest.fixture(scope="module")
def bench(folder: Path, library: Path, inputs: Inputs) -> Bench:
    return Bench(folder, inputs.folder, library)


@pytest.mark.parametrize(
    ("kind", "at", "code", "size"),
    [
        ("count", 0, 0, 1000),
        ("full", 450, 1, 450),
        ("fail", 4, 1, 200),
        ("fsync", 1, 1, 1000),
        ("kill", 4, -9, 200),
    ],
)
def test_a_program_meets_the_fault_that_was_asked_for(
    folder: Path, library: Path, kind: Kind, at: int, code: int, size: int
) -> None:
    work = Work("writer", ("-c", WRITER), program=(sys.executable,))
    home = Home.make(folder / f"{kind}-{at}", work, folder)
    layer = Layer(library, home.folder, folder / f"{kind}-{at}.page")
    ended = run(work, home, layer.environment(Fault(kind, at)))
    assert (ended.code, (home.folder / "work" / "file").stat().st_size) == (code, size)
    # The file is opened, written to ten times, and flushed.
    assert layer.counted().calls == (12 if kind in ("count", "fsync") else layer.counted().calls)


def test_what_is_half_written_or_left_behind_is_found(folder: Path) -> None:
    home = Home.make(folder / "checked", Work("none", ()), folder)
    (home.folder / "work" / "out.gguf").write_bytes(b"whole")
    (home.folder / "work" / "settings.toml").write_text("a = 1\n")
    whole = home.files()
    assert [*home.damaged(whole), *home.left_over(whole), *home.unfinished()] == []
    (home.folder / "work" / "out.gguf").write_bytes(b"who")
    (home.folder / "work" / "settings.toml").write_text("a = ")
    (home.folder / "work" / "out.gguf.123.part").write_bytes(b"half")
    assert len(list(home.damaged(whole))) == 2
    assert list(home.left_over(whole)) == ["work/out.gguf.123.part was left behind"]


def test_a_process_that_outlives_its_parent_is_found(folder: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    work = Work("parent", ("-c", code), program=(sys.executable,))
    ended = run(work, Home.make(folder / "parent", work, folder), grace_s=0.2)
    assert len(ended.survivors) == 1
    assert "time.sleep(60)" in ended.survivors[0]


@pytest.mark.parametrize("name", ["pull", "pull-wheels"])
def test_a_pull_that_is_killed_goes_on(bench: Bench, inputs: Inputs, name: str) -> None:
    assert bench.kills(inputs.works()[name], 0).complaints == ()


@pytest.mark.parametrize("seed", [0, 2, 3, 4], ids=["fails", "fills", "does not flush", "takes half"])
def test_a_bad_disk_costs_one_line_and_nothing_else(bench: Bench, inputs: Inputs, seed: int) -> None:
    assert bench.disk(inputs.works()["quantize"], seed).complaints == ()


def test_a_jumping_clock_changes_nothing(bench: Bench, inputs: Inputs) -> None:
    assert bench.clock(inputs.works()["run"], 3).complaints == ()


@pytest.mark.parametrize("seed", [0, 13, 24, 36, 47, 51], ids=str)
def test_streams_in_trouble_are_one_line_or_nothing(folder: Path, inputs: Inputs, seed: int) -> None:
    assert streams(folder, inputs.folder, seed).complaints == ()


@pytest.mark.parametrize(("end", "seed"), [("kill", 0), ("term", 4)])
def test_a_chat_that_is_cut_off_goes_on(
    folder: Path, library: Path, inputs: Inputs, end: End, seed: int
) -> None:
    assert Chats(folder, inputs.folder, library).trial(end, seed).complaints == ()


def test_a_trial_can_be_repeated_by_its_name_and_seed() -> None:
    asked = [sys.executable, "-m", "scripts.faults", "--only", "streams", "--seed", "1", "--trials", "1"]
    ran = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "1 faults, 0 complaints" in ran.stdout
