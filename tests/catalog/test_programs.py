"""Models that LM Studio, ollama and llama.cpp keep: in folders laid out as theirs, with real headers."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from edgespec import paths
from edgespec.catalog import toml_file
from edgespec.catalog.candidates import PairTarget, find_candidates
from edgespec.catalog.entries import Catalog, ModelEntry
from edgespec.catalog.removal import find_removable
from edgespec.catalog.resolve import find_on_disk, local_models, resolve_model
from edgespec.catalog.sources import hub_cache, programs
from edgespec.errors import ModelMissingError
from tests.catalog.gguf_files import write_gguf

NOTHING = Catalog({}, {}, "")
COMMIT = "f" * 40


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "m.gguf")


def put(file: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(file, path))


def put_ollama(file: Path, root: Path, *name: str, media: str = "model") -> Path:
    """A blob, and the manifest that names it with ollama's other layers."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    blob = put(file, root / "blobs" / f"sha256-{digest}")
    kinds = {"template": "0" * 64, media: digest, "params": "1" * 64}
    layers = [
        {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{value}", "size": 1}
        for kind, value in kinds.items()
    ]
    manifest = root.joinpath("manifests", *name)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}), encoding="utf-8")
    return blob


def put_hub(file: Path, root: Path, repo: str, name: str) -> Path:
    folder = hub_cache.repo_folder(repo, root)
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    return put(file, folder / "snapshots" / COMMIT / name)


def shown() -> list[tuple[str, Path, str]]:
    return [(model.name, model.path, model.origin) for model in local_models(NOTHING)]


def test_the_hubs_cache_is_listed_whoever_filled_it(gguf: Path) -> None:
    path = put_hub(gguf, hub_cache.cache_dir(), "owner/name", "sub/m-Q4_K_M.gguf")
    put_hub(gguf, hub_cache.cache_dir(), "owner/name", "mmproj-F16.gguf")
    assert shown() == [("owner/name:sub/m-Q4_K_M.gguf", path, "hub")]
    assert resolve_model("owner/name:q4_k_m", NOTHING, offline=True).path == path


def test_lm_studios_models_have_the_names_of_the_hub(gguf: Path, isolated_machine: Path) -> None:
    root = isolated_machine / ".lmstudio" / "models"
    path = put(gguf, root / "owner" / "name" / "m-Q4_K_M.gguf")
    put(gguf, root / "owner" / "name" / "mmproj-m.gguf")
    odd = put(gguf, root / "my own" / "x" / "y.gguf")
    assert shown() == [(str(odd), odd, "LM Studio"), ("owner/name:m-Q4_K_M.gguf", path, "LM Studio")]
    for spec in ("owner/name:m-Q4_K_M.gguf", "owner/name:Q4_K_M", "owner/name", str(path)):
        assert resolve_model(spec, NOTHING, offline=True).path == path


@pytest.mark.parametrize("how", ["pointer", "earlier home", "settings"])
def test_lm_studios_folder_is_where_it_says(
    gguf: Path, isolated_machine: Path, tmp_path: Path, how: str
) -> None:
    home = isolated_machine / ".lmstudio"
    if how == "pointer":
        home = tmp_path / "elsewhere"
        (isolated_machine / ".lmstudio-home-pointer").write_text(f"{home}\n", encoding="utf-8")
    elif how == "earlier home":
        home = isolated_machine / ".cache" / "lm-studio"
    home.mkdir(parents=True)
    root = home / "models"
    if how == "settings":
        root = tmp_path / "large disk"
        (home / "settings.json").write_text(json.dumps({"downloadsFolder": str(root)}), encoding="utf-8")
    path = put(gguf, root / "owner" / "name" / "m.gguf")
    assert shown() == [("owner/name:m.gguf", path, "LM Studio")]


@pytest.mark.parametrize("content", ["{", "[]", '{"downloadsFolder": 3}', ""])
def test_settings_of_lm_studio_that_make_no_sense_are_passed_over(
    gguf: Path, isolated_machine: Path, content: str
) -> None:
    home = isolated_machine / ".lmstudio"
    path = put(gguf, home / "models" / "owner" / "name" / "m.gguf")
    (home / "settings.json").write_text(content, encoding="utf-8")
    assert [model.path for model in local_models(NOTHING)] == [path]


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        (("registry.ollama.ai", "library", "qwen3", "0.6b"), "ollama:qwen3:0.6b"),
        (("registry.ollama.ai", "me", "mine", "latest"), "ollama:me/mine:latest"),
        (("hf.co", "owner", "name", "Q4_K_M"), "ollama:hf.co/owner/name:Q4_K_M"),
    ],
)
def test_ollamas_models_have_the_names_that_ollama_lists(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: tuple[str, ...], name: str
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    blob = put_ollama(gguf, tmp_path / "models", *manifest)
    assert shown() == [(name, blob, "ollama")]
    resolved = resolve_model(name, NOTHING, offline=True)
    assert (resolved.name, resolved.path) == (name, blob)


def test_ollamas_own_folder_is_in_the_users_home(
    gguf: Path, isolated_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OLLAMA_MODELS")
    monkeypatch.setattr(programs, "_OLLAMA_SERVICE", isolated_machine / "service")
    root = isolated_machine / ".ollama" / "models"
    mine = put_ollama(gguf, root, "registry.ollama.ai", "library", "a", "latest")
    other = put_ollama(gguf, isolated_machine / "service", "registry.ollama.ai", "library", "b", "latest")
    assert shown() == [("ollama:a:latest", mine, "ollama"), ("ollama:b:latest", other, "ollama")]
    assert resolve_model("ollama:A", NOTHING).path == mine


def test_a_model_that_ollama_does_not_have_is_named(gguf: Path) -> None:
    with pytest.raises(ModelMissingError) as caught:
        resolve_model("ollama:qwen3:4b", NOTHING)
    assert caught.value.message == "ollama has no model qwen3:4b here"
    assert caught.value.hint == "`edgespec models` lists what it has"


def test_manifests_without_weights_are_passed_over(gguf: Path, tmp_path: Path) -> None:
    root = programs.ollama_dirs()[0]
    put_ollama(gguf, root, "registry.ollama.ai", "library", "tensors", "latest", media="tensor")
    gone = put_ollama(
        write_gguf(tmp_path / "n.gguf", rows=8), root, "registry.ollama.ai", "library", "n", "1"
    )
    gone.unlink()
    folder = root / "manifests" / "registry.ollama.ai" / "library" / "odd"
    folder.mkdir()
    for name, content in enumerate(
        (b"{", b"[]", b'{"layers": [3]}', b"\xff", b'{"layers": [{"digest": "x"}]}')
    ):
        (folder / str(name)).write_bytes(content)
    (folder / "evil").write_text(
        json.dumps({"layers": [{"mediaType": programs._MODEL_LAYER, "digest": "sha256:../../../m.gguf"}]})
    )
    assert shown() == []


def test_llama_cpps_cache_is_read_in_both_of_its_forms(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_CACHE", str(tmp_path / "cache"))
    flat = put(gguf, tmp_path / "cache" / "owner_name_m-Q8_0.gguf")
    put(gguf, tmp_path / "cache" / "owner_name_mmproj.gguf")
    cached = put_hub(gguf, tmp_path / "cache", "owner/other", "n-Q8_0.gguf")
    assert [path for _, path, _ in shown()] == [flat, cached]
    assert {origin for _, _, origin in shown()} == {"llama.cpp"}
    assert resolve_model("owner/name:m-Q8_0.gguf", NOTHING, offline=True).path == flat
    assert resolve_model("owner/other:n-Q8_0.gguf", NOTHING, offline=True).path == cached


def test_without_a_variable_llama_cpps_cache_is_where_the_system_keeps_caches(
    isolated_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert programs.llama_cpp_dir() == isolated_machine / ".cache" / "llama.cpp"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert programs.llama_cpp_dir() == Path("/elsewhere/llama.cpp")
    monkeypatch.setattr("sys.platform", "darwin")
    assert programs.llama_cpp_dir() == isolated_machine / "Library" / "Caches" / "llama.cpp"


def test_one_file_in_two_places_is_listed_once(
    gguf: Path, isolated_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put_hub(gguf, hub_cache.cache_dir(), "owner/name", "m.gguf")
    link = isolated_machine / ".lmstudio" / "models" / "owner" / "name" / "m.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(path)
    monkeypatch.setenv("LLAMA_CACHE", str(hub_cache.cache_dir()))
    assert shown() == [("owner/name:m.gguf", path, "hub")]


@pytest.mark.parametrize("where", ["LM Studio", "ollama", "llama.cpp"])
def test_what_another_program_has_is_not_fetched_again_nor_deleted(
    gguf: Path, isolated_machine: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    size, digest = gguf.stat().st_size, hashlib.sha256(gguf.read_bytes()).hexdigest()
    entry = ModelEntry("m", "owner/name", "m-Q8_0.gguf", COMMIT, size, digest)
    catalog = Catalog({"m": entry}, {}, "m")
    assert find_on_disk(entry) is None
    path = {
        "LM Studio": lambda: put(gguf, programs.lm_studio_dir() / "owner" / "name" / "m-Q8_0.gguf"),
        "ollama": lambda: put_ollama(gguf, programs.ollama_dirs()[0], "hf.co", "owner", "name", "Q8_0"),
        "llama.cpp": lambda: put(gguf, programs.llama_cpp_dir() / "owner_name_m-Q8_0.gguf"),
    }[where]()
    assert resolve_model("m", catalog).path == path
    assert [(model.name, model.origin) for model in local_models(catalog)] == [("m", where)]
    with pytest.raises(ModelMissingError, match=rf"m belongs to {where}$"):
        find_removable("m", catalog)


def test_a_folder_that_cannot_be_looked_into_counts_as_empty(
    gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", f"/{'x' * 300}")  # no system has such a name
    path = put(gguf, programs.lm_studio_dir() / "owner" / "name" / "m.gguf")
    entry = ModelEntry("m", "owner/name", "m.gguf", COMMIT, gguf.stat().st_size, "0" * 64)
    assert [model.path for model in local_models(Catalog({"m": entry}, {}, "m"))] == [path]


def test_a_file_of_another_size_is_another_model(gguf: Path) -> None:
    entry = ModelEntry("m", "owner/name", "m.gguf", COMMIT, gguf.stat().st_size + 1)
    put(gguf, programs.lm_studio_dir() / "owner" / "name" / "m.gguf")
    assert find_on_disk(entry) is None


def test_a_split_model_that_lacks_a_part_is_listed_and_does_not_stop_the_list(gguf: Path) -> None:
    put(gguf, programs.lm_studio_dir() / "owner" / "name" / "m-00001-of-00002.gguf")
    whole = put(gguf, programs.lm_studio_dir() / "owner" / "name" / "n.gguf")
    assert [path.name for _, path, _ in shown()] == ["m-00001-of-00002.gguf", "n.gguf"]
    assert find_on_disk(ModelEntry("m", "owner/name", "m-00001-of-00002.gguf")) is None
    assert resolve_model("owner/name:n.gguf", NOTHING).path == whole


def test_all_of_them_are_offered_as_drafts(gguf: Path, tmp_path: Path) -> None:
    target = write_gguf(tmp_path / "target.gguf", rows=500)
    expected = {
        "owner/hub:m.gguf": put_hub(gguf, hub_cache.cache_dir(), "owner/hub", "m.gguf"),
        "owner/name:m.gguf": put(gguf, programs.lm_studio_dir() / "owner" / "name" / "m.gguf"),
        "ollama:m:1": put_ollama(gguf, programs.ollama_dirs()[0], "registry.ollama.ai", "library", "m", "1"),
    }
    rows = find_candidates(PairTarget.of(str(target), NOTHING), NOTHING, 512, 2**40)
    found = {row.spec: row.path for row in rows if row.verdict == "ok"}
    assert expected.items() <= found.items()
    for spec, path in expected.items():
        assert resolve_model(spec, NOTHING, offline=True).path == path


def test_the_command_lists_them_with_where_they_lie(
    gguf: Path, run_cli, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    shipped = paths.user_catalog_file().with_name("shipped.toml")
    shipped.parent.mkdir(parents=True, exist_ok=True)
    shipped.write_text('default = "x"\n[models.x]\nrepo = "o/x"\nfile = "x.gguf"\n', encoding="utf-8")
    monkeypatch.setattr(toml_file, "_shipped_file", lambda: shipped)
    blob = put_ollama(gguf, programs.ollama_dirs()[0], "registry.ollama.ai", "library", "qwen3", "0.6b")
    line = next(line for line in run_cli("models").out.splitlines() if line.startswith("ollama:"))
    assert line.split() == ["ollama:qwen3:0.6b", *line.split()[1:3], "yes", str(blob)]
    others = json.loads(run_cli("models", "--json").out)["others"]
    assert [(one["name"], one["origin"]) for one in others] == [("ollama:qwen3:0.6b", "ollama")]
    assert run_cli("models", "path", "ollama:qwen3:0.6b").out == f"{blob}\n"
    removed = run_cli("models", "rm", "-y", "ollama:qwen3:0.6b")
    assert (removed.code, removed.err) == (
        3,
        "edgespec: ollama:qwen3:0.6b belongs to ollama. Delete it there\n",
    )
    assert blob.exists()
