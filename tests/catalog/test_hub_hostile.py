"""A hub that lies, a disk that fills, and two processes that fetch the same."""

import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgespec.catalog.resolve import resolve_model
from edgespec.catalog.sources import hub_cache
from edgespec.catalog.sources.arrived import arrived_bytes, discard_arrived
from edgespec.errors import DownloadError
from tests.catalog.hub_server import COMMIT, Hub, reached
from tests.catalog.test_hub import CONTENT, KEY, LONG, LONG_FACTS, MIB, catalog_of, weights_in_cache
from tests.cli.processes import start
from tests.recorded_progress import RecordedProgress


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with reached(Hub(files={KEY: CONTENT}), monkeypatch) as hub:
        yield hub


@pytest.fixture
def models_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of the user's own, for commands in processes of their own; `m` is the file of the hub."""
    path = tmp_path / "models.toml"
    monkeypatch.setenv("EDGESPEC_CONFIG", str(path))
    return path


def entry(content: bytes) -> str:
    return (
        f'[models.m]\nrepo = "owner/name"\nfile = "model.gguf"\nrevision = "{COMMIT}"\n'
        f'size_bytes = {len(content)}\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n'
    )


@pytest.mark.parametrize("name", ["../../../../stolen", "/etc/../stolen", "a b", "..", "x\\..\\y"])
@pytest.mark.parametrize("what", ["ETag", "commit"])
def test_a_server_does_not_choose_names_in_the_cache(hub: Hub, what: str, name: str) -> None:
    if what == "ETag":
        hub.etags[KEY] = name
    else:
        hub.commit = name
    with pytest.raises(DownloadError, match=f"the {what} .* which cannot be a name"):
        resolve_model("m", catalog_of(sha256=None, revision=None))
    assert hub.downloads() == []
    home = Path(os.environ["HF_HOME"]).parent
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_no_more_is_fetched_than_was_promised(hub: Hub) -> None:
    hub.claims[KEY] = CONTENT
    hub.files[KEY] = random.Random(1).randbytes(64 * MIB)
    progress = RecordedProgress()
    with pytest.raises(DownloadError, match="came instead of 300000"):
        resolve_model("m", catalog_of(), progress=progress)
    fetched = [done for done, _, label in progress.steps if label.startswith("fetching")]
    assert max(fetched) < len(CONTENT) + 2 * MIB
    assert weights_in_cache() == []


def test_a_second_pull_waits_for_the_first_and_finds_it_there(hub: Hub, models_toml: Path) -> None:
    hub.files[KEY] = LONG
    hub.stall_after = [2 * MIB]
    models_toml.write_text(entry(LONG))
    first = start("models", "pull", "m")
    while not hub.downloads():
        assert first.poll() is None
    second = start("models", "pull", "m")
    assert second.stderr is not None
    said = second.stderr.readline().decode()
    hub.go_on.set()
    ends = [one.communicate(timeout=120) for one in (first, second)]
    assert said == "edgespec: warning: another process is fetching m: waiting for it\n"
    assert [(one.returncode, err) for one, (_, err) in zip((first, second), ends, strict=True)] == [
        (0, b"")
    ] * 2
    assert ends[0][0] == ends[1][0]
    assert hub.downloads() == [""]


def test_a_wait_is_a_stage_of_its_own(hub: Hub) -> None:
    hub.files[KEY] = LONG
    hub.stall_after = [2 * MIB]
    catalog = catalog_of(**LONG_FACTS)
    first = threading.Thread(target=resolve_model, args=("m", catalog))
    first.start()
    while not hub.downloads():
        assert first.is_alive()

    def go_on(label: str) -> None:
        if label.startswith("waiting"):
            hub.go_on.set()

    progress = RecordedProgress(entered=go_on)
    found = resolve_model("m", catalog, progress=progress)
    first.join()
    assert found.path.read_bytes() == LONG
    assert progress.labels == [
        "looking for m on the hub",
        "waiting for another process that is fetching m",
        "checking m",
    ]


def test_what_another_process_fetches_is_not_thrown_away(hub: Hub) -> None:
    hub.files[KEY] = LONG
    hub.stall_after = [2 * MIB]
    catalog = catalog_of(**LONG_FACTS)
    found: list[Path] = []
    first = threading.Thread(target=lambda: found.append(resolve_model("m", catalog).path))
    first.start()
    while arrived_bytes(catalog.models["m"]) < 2 * MIB:
        assert first.is_alive()
    discard_arrived(catalog.models["m"])
    hub.go_on.set()
    first.join()
    assert found[0].read_bytes() == LONG


_FULL = """
mount -t tmpfs -o size=6m none "$1" || exit 99
export HF_HOME="$1" EDGESPEC_HOME="$1/edgespec"
"$2" -m edgespec models pull m &
read go_on
head -c 9000000 /dev/zero > "$1/filler" 2>/dev/null
echo full
wait $!
"""


def test_a_disk_that_fills_meanwhile_is_named(hub: Hub, models_toml: Path, tmp_path: Path) -> None:
    if sys.platform != "linux" or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    hub.files[KEY] = LONG[: 5 * MIB]
    hub.stall_after = [2 * MIB]
    models_toml.write_text(entry(hub.files[KEY]))
    disk = tmp_path / "disk"
    disk.mkdir()
    process = subprocess.Popen(
        ["unshare", "-Urm", "sh", "-c", _FULL, "sh", str(disk), sys.executable],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin is not None and process.stdout is not None
    while not hub.downloads():
        assert process.poll() is None
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"full\n"
    hub.go_on.set()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"the disk of {disk / 'hub'} is full" in err.decode()
    assert "m did not fit. What arrived is kept. Free some space" in err.decode()
    assert "network" not in err.decode()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_to_is_named(hub: Hub) -> None:
    hub_cache.cache_dir().mkdir(parents=True)
    hub_cache.cache_dir().chmod(0o500)
    with pytest.raises(DownloadError, match="cannot be written into"):
        resolve_model("m", catalog_of())
