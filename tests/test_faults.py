"""Faults on purpose, in short: `make faults` runs the same trials for as long as it is given."""

import hashlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from edgespec.files import clear_leftovers, find_leftovers
from scripts.faults.__main__ import KINDS, Row, choose, print_moments, print_table, rows_of
from scripts.faults.commands import Inputs, readers
from scripts.faults.home import CONVERSATIONS, Home
from scripts.faults.kinds import Bench
from scripts.faults.layer import Fault, Kind, Layer, compile_layer
from scripts.faults.outcome import Outcome
from scripts.faults.process import Running
from scripts.faults.run import run
from scripts.faults.serve import SCRIPT, make_serve
from scripts.faults.work import Work

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="the layer of faults is made for Linux, by a C compiler",
)
WRITER = (
    "import os; f = open('file', 'w+b', 0); [f.write(b'x' * 100) for _ in range(10)]; os.fsync(f.fileno());"
    "f.seek(0); f.read(1)"
)


ELSEWHERE = """
from pathlib import Path
from edgespec.files import written_whole
with written_whole(Path("elsewhere/file")) as unfinished:
    unfinished.write_text("x")
"""


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
    return Bench(folder, inputs.folder, library, n_kills=3)


@pytest.mark.parametrize(
    ("kind", "at", "code", "size"),
    [
        ("count", 0, 0, 1000),
        ("full", 450, 1, 450),
        ("fail", 4, 1, 200),
        ("read", 1, 1, 1000),
        ("fsync", 1, 1, 1000),
        ("kill", 4, -9, 200),
        ("power", 12, -9, 1000),
    ],
)
def test_a_program_meets_the_fault_that_was_asked_for(
    folder: Path, library: Path, kind: Kind, at: int, code: int, size: int
) -> None:
    work = Work("writer", ("-c", WRITER), program=(sys.executable,))
    home = Home.make(folder / f"{kind}-{at}", folder)
    layer = Layer(library, home.folder, folder / f"{kind}-{at}.page")
    ended = run(work, home, layer=layer.environment(Fault(kind, at)))
    file = home.folder / "work" / "file"
    assert (ended.code, file.stat().st_size) == (code, size)
    # The file is opened, written to ten times, flushed, and read.
    assert kind != "count" or (layer.counted().calls, layer.counted().reads) == (12, 1)
    assert layer.unflushed() == ({file.stat().st_ino: b""} if kind == "power" else {})


def test_what_was_not_flushed_is_lost_with_the_power(folder: Path) -> None:
    home = Home.make(folder / "power", folder)
    for name in ("flushed", "unflushed"):
        (home.folder / "work" / name).write_bytes(b"x" * 100)
    home.forget({(home.folder / "work" / "unflushed").stat().st_ino: b""}, Random(1))
    assert (home.folder / "work" / "flushed").read_bytes() == b"x" * 100
    assert (home.folder / "work" / "unflushed").read_bytes() != b"x" * 100


FLUSHED_THEN_WRITTEN = """
import os
with open("file", "r+b") as file:
    file.write(b"a" * 40960)
    file.flush()
    os.fsync(file.fileno())
    file.seek(0)
    file.write(b"b" * 49152)
    file.flush()
os.unlink("gone")
"""


def test_what_was_flushed_before_it_was_written_over_stays_block_by_block(
    folder: Path, library: Path
) -> None:
    work = Work("writer", ("-c", FLUSHED_THEN_WRITTEN), program=(sys.executable,))
    seen = set()
    for seed in range(8):
        home = Home.make(folder / f"blocks-{seed}", folder)
        file, gone = home.folder / "work" / "file", home.folder / "work" / "gone"
        file.touch()
        gone.touch()
        layer = Layer(library, home.folder, folder / f"blocks-{seed}.page")
        # Opened, written, flushed, written; the power fails where the other file would be deleted.
        assert run(work, home, layer=layer.environment(Fault("power", 5))).code == -9
        home.forget(layer.unflushed(), Random(seed))
        assert gone.exists()
        seen |= {content := file.read_bytes()}
        assert content[:40960].strip(b"ab") == b""
        assert len(content) in (40960, 49152)
    assert {40960, 49152} == {len(content) for content in seen}
    assert any(b"ab" in content and b"ba" in content for content in seen)


def test_what_is_half_written_left_behind_or_lost_is_found(folder: Path, inputs: Inputs) -> None:
    home = Home.make(folder / "checked", inputs.folder)
    (home.folder / "work" / "out.gguf").write_bytes(b"whole")
    (home.folder / "work" / "settings.toml").write_text("a = 1\n")
    kept = json.dumps({"checksum": hashlib.blake2b(b"read").hexdigest()}).encode() + b"\nread"
    (home.folder / "work" / "one.kept").write_bytes(kept)
    whole = home.files()
    assert [*home.damaged(whole), *home.left_over(whole), *home.unfinished()] == []
    (home.folder / "work" / "out.gguf").write_bytes(b"who")
    (home.folder / "work" / "settings.toml").write_text("a = ")
    (home.folder / "work" / "out.gguf.123.part").write_bytes(b"half")
    (home.folder / "work" / "one.kept").write_bytes(kept[:-1])
    assert len(list(home.damaged(whole))) == 3
    assert list(home.left_over(whole)) == ["work/out.gguf.123.part was left behind"]
    assert list(home.lost(inputs.folder)) == []
    (home.folder / "edgespec" / "config" / "app.toml").write_text("")
    (home.folder / "edgespec" / CONVERSATIONS).unlink()
    assert len(list(home.lost(inputs.folder))) == 3


def test_a_process_that_outlives_its_parent_is_found(folder: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    work = Work("parent", ("-c", code), program=(sys.executable,))
    ended = run(work, Home.make(folder / "parent", folder), grace_s=0.2)
    assert len(ended.stayed) == 1
    assert "time.sleep(60)" in ended.stayed[0]


def test_wherever_a_writer_is_killed_what_it_left_is_shown(
    folder: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work("writer", ("-c", ELSEWHERE), program=(sys.executable,))
    home = Home.make(folder / "elsewhere", folder)
    layer = Layer(library, home.folder, folder / "elsewhere.page")
    monkeypatch.setenv("EDGESPEC_HOME", str(home.folder / "edgespec"))
    n_left = 0
    ended = run(work, home, layer=layer.environment(Fault("count")))
    assert ended.code == 0
    for at in range(1, layer.counted().calls + 1):
        run(work, home, layer=layer.environment(Fault("kill", at)))
        left = home.hidden()
        assert left == {str(one.path) for one in find_leftovers()}, at
        n_left += len(left)
        clear_leftovers()
    assert n_left > 3


@pytest.mark.parametrize(("name", "seed"), [("pull", 0), ("pull", 3), ("pull-wheels", 0)])
def test_a_pull_that_is_killed_goes_on(bench: Bench, inputs: Inputs, name: str, seed: int) -> None:
    assert bench.kill(inputs.works()[name], seed).faults == ()


@pytest.mark.parametrize(
    ("kind", "seed"),
    [("full", 0), ("fail", 0), ("fail", 2), ("lie", 0), ("lie", 1), ("lie", 2)],
    ids=["fills", "fails", "is not read", "does not flush", "takes half", "forgets"],
)
def test_a_bad_disk_costs_one_line_and_nothing_else(
    bench: Bench, inputs: Inputs, kind: str, seed: int
) -> None:
    outcome: Outcome = getattr(bench, kind)(inputs.works()["quantize"], seed)
    assert outcome.faults == ()


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        ("child", 1),
        ("stop", 0),
        ("terminal", 0),
        ("terminal", 1),
        ("memory", 0),
        ("limits", 0),
        ("limits", 1),
    ],
)
def test_a_work_that_is_cut_off_or_kept_short_goes_on(
    bench: Bench, inputs: Inputs, kind: str, seed: int
) -> None:
    outcome: Outcome = getattr(bench, kind)(inputs.works()["quantize"], seed)
    assert outcome.faults == ()


def test_a_jumping_clock_changes_nothing(bench: Bench, inputs: Inputs) -> None:
    assert bench.clock(inputs.works()["quantize"], 3).faults == ()


@pytest.mark.parametrize(
    ("name", "seed"),
    [("help", 0), ("show", 1), ("models", 2), ("version", 3), ("results", 6), ("models", 7), ("show", 8)],
)
def test_streams_in_trouble_are_one_line_or_nothing(bench: Bench, name: str, seed: int) -> None:
    assert bench.pipe(readers()[name], seed).faults == ()


@pytest.mark.parametrize(("kind", "seed"), [("kill", 0), ("terminal", 2)])
def test_a_chat_that_is_cut_off_goes_on(bench: Bench, inputs: Inputs, kind: str, seed: int) -> None:
    outcome: Outcome = getattr(bench, kind)(inputs.works()["chat"], seed)
    assert outcome.faults == ()


@pytest.mark.parametrize(("kind", "seed"), [("kill", 0), ("child", 9)])
def test_a_server_that_is_cut_off_goes_on(bench: Bench, inputs: Inputs, kind: str, seed: int) -> None:
    outcome: Outcome = getattr(bench, kind)(inputs.works()["serve"], seed)
    assert outcome.faults == ()


def test_a_wrong_answer_and_a_port_that_is_taken_are_found(inputs: Inputs, folder: Path) -> None:
    work = make_serve("speaker.gguf")
    home = Home.make(folder / "answers", inputs.folder)
    running = Running([sys.executable, "-c", ""], home.folder, {}, home.streams)
    running.wait(30.0)
    running.answers = {"right": "".join(SCRIPT), "cut off": "A heron"}
    assert [one.partition(" was ")[0] for one in work.troubles(running)] == ["cut off"]
    with socket.create_server(("127.0.0.1", work.port)):
        assert list(work.troubles(running))[1:] == [f"port {work.port} is still taken"]


def test_every_kind_is_tried_on_every_work(bench: Bench, inputs: Inputs) -> None:
    rows = {row.name for row in rows_of(bench, inputs.works())}
    assert {f"{kind}/{work}" for kind in KINDS for work in inputs.works()} - rows == {"kill/run"}


def test_one_row_is_chosen_by_its_name_and_many_by_their_kind(bench: Bench, inputs: Inputs) -> None:
    rows = rows_of(bench, inputs.works())
    assert choose(rows, "") == rows
    assert [row.name for row in choose(rows, "kill/pull,full/serve")] == ["kill/pull", "full/serve"]
    assert {row.kind for row in choose(rows, "kill/,lie/tune")} == {"kill", "lie"}


def test_the_table_has_trials_and_faults_of_works_by_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    def nothing(_seed: int) -> Outcome:
        return Outcome(0, ())

    print_table([Row("kill", "pull", nothing, 9, 2, 7, 1), Row("pipe", "chat", nothing, 9, 3, 3, 0)])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["trials/faults", "kill", "pipe"],
        ["pull", "7/1"],
        ["chat", "3/0"],
        ["10", "trials,", "1", "faults"],
    ]


def test_the_moments_of_kills_are_counted_by_tenths_of_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    def nothing(_seed: int) -> Outcome:
        return Outcome(0, ())

    row = Row("kill", "pull", nothing, 9, 2, moments=[0.05, 0.55, 0.51, 1.0], seconds=3.0)
    print_moments([row, Row("pipe", "pull", nothing, 9, 2)])
    _, line = capsys.readouterr().out.splitlines()
    assert line.split() == ["kill/pull", *"1000020001", "1.5"]


def test_a_trial_can_be_repeated_by_its_name_and_seed() -> None:
    asked = [sys.executable, "-m", "scripts.faults", "--only", "pipe/help", "--seed", "1", "--trials", "1"]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "1 trials, 0 faults" in ran.stdout


QUANTIZES = """
import sys
from pathlib import Path
from edgespec.errors import EngineError
from edgespec.llama.quantizer import requantize_file
try:
    requantize_file(Path(sys.argv[1]), Path("copy.gguf"), "Q8_0", n_threads=1)
except EngineError as error:
    sys.exit(error.message)
"""


def test_a_copy_whose_header_the_disk_did_not_take_is_none(
    folder: Path, library: Path, tiny_model: Path
) -> None:
    work = Work("quantizes", ("-c", QUANTIZES, str(tiny_model)), program=(sys.executable,))
    n_bytes = 0
    for kind in ("count", "full"):
        home = Home.make(folder / f"quantizes-{kind}", folder)
        layer = Layer(library, home.folder, folder / f"quantizes-{kind}.page")
        # The header is written last, over zeros: a file system that copies on writing needs room for it again.
        fault = Fault("full", n_bytes - 64) if kind == "full" else Fault("count")
        ended = run(work, home, layer=layer.environment(fault))
        n_bytes = layer.counted().n_bytes
        found = [file.name for file in (home.folder / "work").iterdir()]
        assert (found, ended.code) == ((["copy.gguf"], 0) if kind == "count" else ([], 1))
    assert "could not requantize tiny.gguf to Q8_0: the disk did not take all of it" in ended.errors
