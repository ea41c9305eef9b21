"""`edgespec convert` from the command line: what it needs, and what it says."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.quant.hf_folder import write_llama
from tests.quant.test_convert import stand_in

__all__ = ["stand_in"]


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    folder = write_llama(tmp_path / "heron-2b")
    shutil.copyfile(tiny_model, folder / "answer.gguf")
    return folder


def test_without_the_extra_it_says_what_to_install(
    run_cli: RunCli, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("quant.convert.from_hf.find_spec", lambda _name: None)
    result = run_cli("convert", folder)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert "pip install 'edgespec[convert]'" in result.err


def test_the_file_takes_the_folders_name_and_the_type(
    run_cli: RunCli, stand_in: None, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    result = run_cli("convert", folder, "--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert (document["schema"], document["output"]) == ("edgespec.convert/1", "heron-2b-F16.gguf")
    assert document["size_bytes"] == (elsewhere / "heron-2b-F16.gguf").stat().st_size
    shown = run_cli("show", elsewhere / "heron-2b-F16.gguf")
    assert "made from:     heron-2b" in shown.out
    again = run_cli("convert", folder)
    assert (again.code, "--force" in again.err) == (2, True)


def test_what_is_neither_folder_nor_repository_is_one_line(run_cli: RunCli, stand_in: None, tmp_path: Path):
    for model in ("heron", str(tmp_path / "nowhere"), __file__):
        result = run_cli("convert", model)
        assert (result.code, result.err.count("\n")) == (2, 1), result.err


def test_offline_nothing_is_fetched(run_cli: RunCli, stand_in: None):
    result = run_cli("--offline", "convert", "owner/heron")
    assert result.code == 3
    assert "offline" in result.err
