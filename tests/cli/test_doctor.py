"""`edgespec doctor`, on the machine that runs the tests."""

import json
import platform
from pathlib import Path

import pytest

import edgespec
import edgespec.llama.build
from edgespec.cli.machine import parse_features
from edgespec.errors import EngineError
from tests.leftovers import leave_behind

KEYS = {
    "": {"schema", "versions", "machine", "engine", "folders", "models", "leftovers", "offline", "findings"},
    "versions": {"edgespec", "python", "llama_cpp_python", "llama_cpp"},
    "machine": {
        "system",
        "cpu",
        "physical_cores",
        "logical_cores",
        "memory_total_bytes",
        "memory_available_bytes",
    },
    "engine": {
        "kernels",
        "system_info",
        "features",
        "supports_gpu_offload",
        "supports_rpc",
        "default_threads",
        "devices",
    },
}


def test_json_has_the_promised_keys_and_nothing_else_is_on_stdout(run_cli):
    result = run_cli("doctor", "--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert document["schema"] == "edgespec.doctor/1"
    for part, keys in KEYS.items():
        assert set(document[part] if part else document) == keys
    assert document["versions"]["edgespec"] == edgespec.__version__
    assert document["versions"]["python"] == platform.python_version()
    assert {device["kind"] for device in document["engine"]["devices"]} >= {"cpu"}
    assert document["machine"]["memory_total_bytes"] > document["machine"]["memory_available_bytes"] > 0


def test_the_folders_follow_the_environment(run_cli, isolated_machine: Path):
    folders = {row["name"]: row for row in json.loads(run_cli("doctor", "--json").out)["folders"]}
    home = isolated_machine / "edgespec"
    assert folders["models"]["path"] == str(home / "data" / "models")
    assert folders["hub cache"]["path"] == str(isolated_machine / "huggingface" / "hub")
    assert folders["models"]["exists"] is False
    assert folders["models"]["free_bytes"] > 0
    assert not home.exists()


def test_text_shows_the_same_in_sections(run_cli):
    document = json.loads(run_cli("doctor", "--json").out)
    result = run_cli("doctor")
    assert (result.code, result.err) == (0, "")
    titles = [line for line in result.out.splitlines() if line and not line.startswith(" ")]
    assert titles[:5] == [
        "Versions",
        "Machine",
        "Devices of this build of llama.cpp",
        "Folders",
        "Models on disk",
    ]
    assert document["machine"]["cpu"] in result.out
    assert document["versions"]["llama_cpp_python"] in result.out


def test_offline_is_reported(run_cli):
    document = json.loads(run_cli("--offline", "doctor", "--json").out)
    assert document["offline"] is True
    assert "Offline" in " ".join(finding["message"] for finding in document["findings"])


def test_a_llama_cpp_that_does_not_load_is_an_error_among_the_findings(
    run_cli, monkeypatch: pytest.MonkeyPatch
):
    def fail() -> None:
        raise EngineError("llama-cpp-python cannot be loaded: no such file", "run `make install`")

    monkeypatch.setattr(edgespec.llama.build, "describe_backends", fail)
    result = run_cli("doctor")
    assert (result.code, result.err) == (1, "")
    assert "error: llama-cpp-python cannot be loaded: no such file. Run `make install`." in result.out
    assert json.loads(run_cli("doctor", "--json").out)["engine"] is None


def test_a_broken_catalogue_is_an_error_among_the_findings(
    run_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    broken = tmp_path / "models.toml"
    broken.write_text("[models\n")
    monkeypatch.setenv("EDGESPEC_CONFIG", str(broken))
    result = run_cli("doctor")
    errors = [line for line in result.out.splitlines() if line.startswith("error: ")]
    assert (result.code, len(errors)) == (1, 1)
    assert str(broken) in errors[0]


def test_what_killed_work_left_is_listed_and_not_touched(run_cli, tmp_path: Path):
    assert "Left by" not in run_cli("doctor").out
    left = leave_behind(tmp_path / "out", 3 << 20)
    assert json.loads(run_cli("doctor", "--json").out)["leftovers"] == [
        {"path": str(left), "size_bytes": 3 << 20}
    ]
    said = run_cli("doctor").out
    assert "Left by work that was killed; the next command that writes a file removes it" in said
    assert f"3.0 MiB  {left}" in said
    assert left.exists()


@pytest.mark.model
def test_a_model_that_was_pulled_is_listed(run_cli, home_with_smollm2: Path):
    models = json.loads(run_cli("doctor", "--json").out)["models"]
    assert [(row["name"], row["size_bytes"]) for row in models] == [("smollm2-135m", 98362432)]


def test_features_are_the_names_that_are_on():
    assert parse_features("CPU : SSE3 = 1 | AVX512 = 0 | REPACK = 1 | CUDA : ARCHS = 890 |") == (
        "SSE3",
        "REPACK",
        "ARCHS",
    )
