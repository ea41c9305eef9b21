"""Fetching from a hub on loopback, through huggingface_hub itself."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgespec.catalog.entries import Catalog, ModelEntry
from edgespec.catalog.removal import remove_model
from edgespec.catalog.resolve import find_on_disk, resolve_model
from edgespec.catalog.sources import hub_cache
from edgespec.catalog.sources.arrived import arrived_bytes, discard_arrived
from edgespec.errors import DiskSpaceError, DownloadError, HashMismatchError, ModelMissingError
from tests.catalog.hub_server import COMMIT, Hub, reached
from tests.recorded_progress import RecordedProgress

CONTENT = random.Random(3).randbytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
KEY = "owner/name/model.gguf"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with reached(Hub(files={KEY: CONTENT}), monkeypatch) as hub:
        yield hub


def catalog_of(**changes: object) -> Catalog:
    facts = {
        "repo": "owner/name",
        "file": "model.gguf",
        "revision": COMMIT,
        "size_bytes": len(CONTENT),
        "sha256": DIGEST,
    } | changes
    return Catalog({"m": ModelEntry("m", **facts)}, {}, "m")  # type: ignore[arg-type]


def cached_files() -> list[Path]:
    return [path for path in hub_cache.cache_dir().rglob("*") if path.is_file() and path.stat().st_size]


def weights_in_cache() -> list[Path]:
    return [path for path in cached_files() if path.parent.name in {"blobs", COMMIT}]


def test_a_model_is_fetched_once_and_then_found(hub: Hub) -> None:
    progress = RecordedProgress()
    catalog = catalog_of()
    first = resolve_model("m", catalog, progress=progress)
    assert first.path.read_bytes() == CONTENT
    assert first.path.name == "model.gguf"
    assert progress.labels == ["looking for m on the hub", "fetching m from the hub", "checking m"]
    assert (300_000, 300_000, "fetching m from the hub") in progress.steps
    assert progress.steps[-1] == (300_000, 300_000, "checking m")
    assert progress.units == {"bytes"}
    asked = len(hub.requests)
    assert resolve_model("m", catalog) == first
    assert len(hub.requests) == asked


def test_the_library_finds_in_its_own_cache_what_we_fetched(hub: Hub) -> None:
    from huggingface_hub import try_to_load_from_cache

    path = resolve_model("m", catalog_of()).path
    found = try_to_load_from_cache(
        "owner/name", "model.gguf", cache_dir=hub_cache.cache_dir(), revision=COMMIT
    )
    assert Path(str(found)) == path


def test_without_a_revision_the_newest_is_taken_and_found_again(hub: Hub) -> None:
    catalog = catalog_of(revision=None)
    path = resolve_model("m", catalog).path
    assert COMMIT in path.parts
    assert find_on_disk(catalog.models["m"]).path == path  # type: ignore[union-attr]


def test_a_repository_and_file_can_be_named_directly(hub: Hub) -> None:
    resolved = resolve_model("owner/name:model.gguf", catalog_of())
    assert resolved.path.read_bytes() == CONTENT
    assert resolved.name == "owner/name:model.gguf"


@pytest.mark.parametrize(
    ("spec", "file"),
    [
        ("owner/name:Q4_K_M", "m-Q4_K_M.gguf"),
        ("owner/name:q8_0", "m-Q8_0.gguf"),
        ("owner/name", "m-Q4_K_M.gguf"),
        ("hf.co/owner/name:UD-Q4_K_M", "m-UD-Q4_K_M.gguf"),
        ("https://huggingface.co/owner/name", "m-Q4_K_M.gguf"),
        ("https://huggingface.co/owner/name/blob/main/m-Q8_0.gguf", "m-Q8_0.gguf"),
        ("https://huggingface.co/owner/name/resolve/main/m-Q8_0.gguf?download=true", "m-Q8_0.gguf"),
        (f"https://huggingface.co/owner/name/blob/{COMMIT}/m-Q8_0.gguf", "m-Q8_0.gguf"),
        (f"owner/name@{COMMIT}:Q8_0", "m-Q8_0.gguf"),
    ],
)
def test_what_people_write_for_a_model_of_the_hub_is_fetched_and_found_again(
    hub: Hub, spec: str, file: str
) -> None:
    names = ["m-UD-Q4_K_M.gguf", "mmproj-Q4_K_M.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "README.md"]
    hub.files = {f"owner/name/{name}": name.encode() for name in names}
    first = resolve_model(spec, catalog_of())
    assert first.path.name == file
    assert first.path.read_bytes() == file.encode()
    asked = len(hub.requests)
    again = resolve_model(spec, catalog_of(), offline=True)
    assert (again.path, again.name) == (first.path, first.name)
    assert len(hub.requests) == asked


def test_a_quantization_brings_all_parts_of_a_split_model(hub: Hub) -> None:
    for number in (1, 2):
        hub.files[f"owner/name/Q8_0/big-Q8_0-0000{number}-of-00002.gguf"] = CONTENT[: 1000 * number]
    resolved = resolve_model("owner/name:Q8_0", catalog_of())
    assert resolved.path.name == "big-Q8_0-00001-of-00002.gguf"
    assert resolved.path.with_name("big-Q8_0-00002-of-00002.gguf").stat().st_size == 2000


@pytest.mark.parametrize(
    ("files", "spec", "said", "hint"),
    [
        (
            ["m-Q8_0.gguf", "m-Q2_K.gguf", "mmproj-F16.gguf"],
            "owner/name:Q4_K_M",
            "owner/name has no file for Q4_K_M",
            "it has Q2_K, Q8_0",
        ),
        (["model.gguf"], "owner/name:Q4_K_M", "owner/name has no file for Q4_K_M", "it has model.gguf"),
        (
            ["model.safetensors"],
            "owner/name",
            "owner/name holds no GGUF model",
            "look for a repository whose name ends in -GGUF",
        ),
        (
            ["m-Q8_0.gguf"],
            "owner/none:Q8_0",
            "the hub has no repository owner/none, or it is private",
            "check the name; for a private one log in with `hf auth login`",
        ),
    ],
)
def test_a_quantization_that_is_not_there_is_named_with_those_that_are(
    hub: Hub, files: list[str], spec: str, said: str, hint: str
) -> None:
    hub.files = {f"owner/name/{name}": b"x" for name in files}
    with pytest.raises(ModelMissingError) as caught:
        resolve_model(spec, catalog_of())
    assert (caught.value.message, caught.value.hint) == (said, hint)
    assert hub.downloads() == [""]


def test_a_quantization_is_not_looked_up_where_nothing_may_be_fetched(hub: Hub) -> None:
    with pytest.raises(ModelMissingError, match="owner/name:Q8_0 is not on this machine, and offline"):
        resolve_model("owner/name:Q8_0", catalog_of(), offline=True)
    assert hub.requests == []


def test_all_parts_of_a_split_model_are_fetched(hub: Hub) -> None:
    for number in (1, 2):
        hub.files[f"owner/name/sub/big-0000{number}-of-00002.gguf"] = CONTENT[: 1000 * number]
    entry = {"file": "sub/big-00001-of-00002.gguf", "size_bytes": 3000, "sha256": None}
    resolved = resolve_model("m", catalog_of(**entry))
    assert resolved.path.name == "big-00001-of-00002.gguf"
    assert resolved.path.with_name("big-00002-of-00002.gguf").stat().st_size == 2000
    assert find_on_disk(resolved.entry).size_bytes == 3000  # type: ignore[arg-type, union-attr]


def test_a_dropped_connection_is_resumed_where_it_broke(hub: Hub) -> None:
    large = CONTENT * 80  # the library keeps whole chunks of 10 MB
    hub.files[KEY] = large
    hub.drop_after = [15_000_000]
    facts = {"size_bytes": len(large), "sha256": hashlib.sha256(large).hexdigest()}
    progress = RecordedProgress()
    resolved = resolve_model("m", catalog_of(**facts), progress=progress)
    assert resolved.path.read_bytes() == large
    first, second = hub.downloads()
    assert first == ""
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 15_000_000
    fetched = [done for done, _, label in progress.steps if label.startswith("fetching")]
    assert fetched == sorted(fetched)
    assert fetched[-1] == len(large)


def test_wrong_bytes_are_thrown_away(hub: Hub) -> None:
    hub.claims[KEY] = CONTENT
    hub.files[KEY] = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(HashMismatchError) as caught:
        resolve_model("m", catalog_of())
    assert f"instead of {DIGEST}. It was thrown away" in caught.value.message
    assert weights_in_cache() == []
    hub.files[KEY] = CONTENT
    assert resolve_model("m", catalog_of()).path.read_bytes() == CONTENT


def test_a_short_file_leaves_nothing_behind(hub: Hub) -> None:
    hub.claims[KEY] = CONTENT
    hub.files[KEY] = CONTENT[:1000]
    with pytest.raises(DownloadError, match=r"model\.gguf"):
        resolve_model("m", catalog_of())
    assert weights_in_cache() == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"sha256": "0" * 64}, f"the hub offers sha256 {DIGEST} instead of {'0' * 64}"),
        ({"size_bytes": 1}, "the hub offers 300000 bytes instead of 1"),
    ],
)
def test_a_repository_that_changed_is_refused_before_fetching(
    hub: Hub, facts: dict[str, object], said: str
) -> None:
    with pytest.raises(HashMismatchError) as caught:
        resolve_model("m", catalog_of(**facts))
    assert said in caught.value.message
    assert "Nothing was fetched" in caught.value.message
    assert hub.downloads() == []


def test_a_gated_model_says_what_to_do(hub: Hub) -> None:
    hub.gated.add("owner/name")
    with pytest.raises(ModelMissingError) as caught:
        resolve_model("m", catalog_of())
    assert caught.value.message == "owner/name is gated: its owner wants its licence accepted first"
    assert caught.value.hint == (
        "accept it on the hub's page of owner/name, log in with `hf auth login`, and try again"
    )


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"repo": "owner/none"}, "the hub has no repository owner/none, or it is private"),
        ({"file": "none.gguf"}, "owner/name has no file none.gguf"),
        ({"revision": "v9"}, "owner/name has no revision v9"),
    ],
)
def test_what_is_not_on_the_hub_is_named(hub: Hub, facts: dict[str, object], said: str) -> None:
    with pytest.raises(ModelMissingError) as caught:
        resolve_model("m", catalog_of(**facts))
    assert caught.value.message == said


def test_offline_asks_nobody_and_names_the_command(hub: Hub) -> None:
    with pytest.raises(ModelMissingError) as caught:
        resolve_model("m", catalog_of(), offline=True)
    assert caught.value.message == "m is not on this machine, and offline mode forbids fetching it"
    assert caught.value.hint == "run `edgespec models pull m` once with a network"
    assert hub.requests == []


def test_the_hubs_own_offline_variable_counts(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = resolve_model("m", catalog_of()).path
    asked = len(hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve_model("m", catalog_of()).path == path
    with pytest.raises(ModelMissingError, match="offline mode"):
        resolve_model("m", catalog_of(file="other.gguf"))
    assert len(hub.requests) == asked


def test_a_hub_that_nobody_answers_is_a_download_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with pytest.raises(DownloadError, match=r"the hub did not deliver owner/name:model.gguf"):
        resolve_model("m", catalog_of())


def test_no_room_is_noticed_before_fetching(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=2**17))
    with pytest.raises(DiskSpaceError, match=r"m needs 0\.3 MiB and the disk of .* has 0\.1 MiB free"):
        resolve_model("m", catalog_of())
    assert hub.downloads() == []


def test_removing_frees_the_blob_too(hub: Hub) -> None:
    catalog = catalog_of()
    resolve_model("m", catalog)
    assert remove_model("m", catalog) == 300_000
    assert weights_in_cache() == []
    with pytest.raises(ModelMissingError, match="nothing of m is on disk"):
        remove_model("m", catalog)


def test_a_blob_that_another_snapshot_shows_is_kept(hub: Hub) -> None:
    catalog = catalog_of()
    path = resolve_model("m", catalog).path
    if not path.is_symlink():
        pytest.skip("this file system has no symbolic links")
    other = path.parent.parent / ("f" * 40) / "model.gguf"
    other.parent.mkdir()
    other.symlink_to(path.resolve())
    assert remove_model("m", catalog) == 0
    assert other.read_bytes() == CONTENT


def test_the_cache_is_looked_for_where_the_hubs_variables_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert hub_cache.cache_dir() == tmp_path / "home" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert hub_cache.cache_dir() == tmp_path / "cache"
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub_cache.cache_dir() == tmp_path / "xdg" / "huggingface" / "hub"


def interrupted(n_bytes: float = float("inf"), label: str = "") -> RecordedProgress:
    """Progress that is interrupted as Ctrl-C does it, at so many bytes or in a stage of that label."""

    def watch(done: float, now: str) -> None:
        if done >= n_bytes or now == label:
            raise KeyboardInterrupt

    return RecordedProgress(watch=watch)


LONG = CONTENT * 20
LONG_FACTS = {"size_bytes": len(LONG), "sha256": hashlib.sha256(LONG).hexdigest()}
MIB = 1 << 20


def test_what_arrived_before_ctrl_c_is_gone_on_from(hub: Hub) -> None:
    hub.files[KEY] = LONG
    catalog = catalog_of(**LONG_FACTS)
    with pytest.raises(KeyboardInterrupt):
        resolve_model("m", catalog, progress=interrupted(2 * MIB))
    assert find_on_disk(catalog.models["m"]) is None
    assert arrived_bytes(catalog.models["m"]) == 2 * MIB
    progress = RecordedProgress()
    assert resolve_model("m", catalog, progress=progress).path.read_bytes() == LONG
    fetched = [done for done, _, label in progress.steps if label.startswith("fetching")]
    assert (fetched[0], fetched[-1]) == (2 * MIB, len(LONG))
    assert hub.downloads() == ["", f"bytes={2 * MIB}-"]
    assert arrived_bytes(catalog.models["m"]) == 0


def test_ctrl_c_while_it_is_checked_gives_no_final_name_and_fetches_nothing_twice(hub: Hub) -> None:
    catalog = catalog_of()
    with pytest.raises(KeyboardInterrupt):
        resolve_model("m", catalog, progress=interrupted(label="checking m"))
    assert find_on_disk(catalog.models["m"]) is None
    assert resolve_model("m", catalog).path.read_bytes() == CONTENT
    assert hub.downloads() == [""]


def test_a_hub_that_ignores_ranges_sends_the_whole_file_again(hub: Hub) -> None:
    hub.files[KEY] = LONG
    catalog = catalog_of(**LONG_FACTS)
    with pytest.raises(KeyboardInterrupt):
        resolve_model("m", catalog, progress=interrupted(2 * MIB))
    hub.ignores_ranges = True
    progress = RecordedProgress()
    assert resolve_model("m", catalog, progress=progress).path.read_bytes() == LONG
    fetched = [done for done, _, label in progress.steps if label.startswith("fetching")]
    assert fetched[:2] == [2 * MIB, 0]
    assert fetched[-1] == len(LONG)


def test_what_arrived_of_another_size_is_begun_again(hub: Hub) -> None:
    catalog = catalog_of(size_bytes=None, sha256=None)
    partial = hub_cache.repo_folder("owner/name") / "blobs" / f"{DIGEST}.model.gguf.edgespec.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * (len(CONTENT) + 1))
    with pytest.raises(DownloadError, match="300001 bytes came instead of 300000"):
        resolve_model("m", catalog)
    assert resolve_model("m", catalog).path.read_bytes() == CONTENT


def test_what_arrived_and_was_damaged_since_is_fetched_again_once(hub: Hub) -> None:
    hub.files[KEY] = LONG
    catalog = catalog_of(**LONG_FACTS)
    with pytest.raises(KeyboardInterrupt):
        resolve_model("m", catalog, progress=interrupted(2 * MIB))
    (partial,) = (hub_cache.repo_folder("owner/name") / "blobs").glob("*.incomplete")
    partial.write_bytes(bytes(partial.stat().st_size))
    assert resolve_model("m", catalog).path.read_bytes() == LONG
    assert hub.downloads()[-1] == ""


def test_what_arrived_can_be_thrown_away(hub: Hub) -> None:
    hub.files[KEY] = LONG
    catalog = catalog_of(**LONG_FACTS)
    with pytest.raises(KeyboardInterrupt):
        resolve_model("m", catalog, progress=interrupted(2 * MIB))
    discard_arrived(catalog.models["m"])
    assert arrived_bytes(catalog.models["m"]) == 0
    assert weights_in_cache() == []


def test_throwing_away_touches_no_whole_model(hub: Hub) -> None:
    catalog = catalog_of()
    path = resolve_model("m", catalog).path
    discard_arrived(catalog.models["m"])
    assert path.read_bytes() == CONTENT


def test_whole_parts_of_a_split_model_count_as_arrived(hub: Hub) -> None:
    for number in (1, 2):
        hub.files[f"owner/name/big-0000{number}-of-00002.gguf"] = LONG[number : number + 3 * MIB]
    catalog = catalog_of(file="big-00001-of-00002.gguf", size_bytes=6 * MIB, sha256=None)
    with pytest.raises(KeyboardInterrupt):
        resolve_model("m", catalog, progress=interrupted(4 * MIB))
    assert arrived_bytes(catalog.models["m"]) == 4 * MIB
    discard_arrived(catalog.models["m"])
    assert weights_in_cache() == []


def test_the_login_goes_to_the_hub_and_not_to_its_storage(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    resolve_model("m", catalog_of())
    sent = {path.split("/")[1]: login for (_, path, _), login in zip(hub.requests, hub.logins, strict=True)}
    assert sent == {"owner": "Bearer hf_secret", "storage": ""}
