"""The wheels that need no compiler: what is asked of the build, and what goes into them."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from email import message_from_string
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
COMPANION = REPOSITORY / "packaging" / "edgespec-llama"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def load(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return load(COMPANION / "build_backend.py")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(REPOSITORY / "scripts"), *sys.path])
    return load(REPOSITORY / "scripts" / "build_wheels.py")


def test_the_wheel_is_built_with_edgespecs_flags_for_no_processor_in_particular(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_OPENMP=OFF")
    flags = shlex.split(backend.cmake_args())
    assert flags[: len(shlex.split(backend.install_llama.base_cmake_args()))] == shlex.split(
        backend.install_llama.base_cmake_args()
    )
    assert "-DGGML_NATIVE=OFF" in flags
    assert flags[-1] == "-DGGML_OPENMP=OFF"


_PROJECT = """
[build-system]
requires = []
build-backend = "{backend}"
{path}
[project]
name = "{name}"
version = "1"
"""
_OUTER = """
import os, subprocess, sys
sys.path.insert(0, {companion!r})
from build_backend import outer_environment
from inner_backend import build_wheel as build

def build_wheel(folder, settings=None, metadata=None):
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, {inner!r}]
    subprocess.run(command, check=True, env=outer_environment())
    return build(folder, name="outer")
"""
_INNER = """
from pathlib import Path
from zipfile import ZipFile

def build_wheel(folder, settings=None, metadata=None, name="inner"):
    file = f"{name}-1-py3-none-any.whl"
    with ZipFile(Path(folder) / file, "w") as wheel:
        info = f"{name}-1.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file
"""


def test_a_build_within_the_build_finds_its_own_backend(tmp_path: Path):
    backends, outer, inner = (tmp_path / name for name in ("backends", "outer", "inner"))
    for folder in (backends, outer, inner):
        folder.mkdir()
    (backends / "inner_backend.py").write_text(_INNER, encoding="utf-8")
    (inner / "pyproject.toml").write_text(
        _PROJECT.format(backend="inner_backend", path="", name="inner"), encoding="utf-8"
    )
    (outer / "pyproject.toml").write_text(
        _PROJECT.format(backend="outer_backend", path='backend-path = ["."]', name="outer"), encoding="utf-8"
    )
    (outer / "outer_backend.py").write_text(
        _OUTER.format(companion=str(COMPANION), inner=str(inner)), encoding="utf-8"
    )
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"]
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(tmp_path), str(outer)],
        env={**os.environ, "PYTHONPATH": str(backends)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "outer-1-py3-none-any.whl").is_file()


def test_every_variant_is_one_that_the_build_does_not_leave_out(backend: ModuleType):
    pattern = next(
        (flag for flag in shlex.split(backend.cmake_args()) if flag.startswith("-DEDGESPEC_VARIANTS=")), ""
    ).partition("=")[2]
    if not pattern:
        pytest.skip("only x86 has variants that are left out")
    assert [name for name in backend.X86_VARIANTS if re.search(pattern, name)] == list(backend.X86_VARIANTS)
    assert not re.search(pattern, "sapphirerapids")  # the one with AMX


def test_of_three_copies_of_a_library_the_wheel_has_the_one_that_is_opened(
    backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "platform", "linux")
    names = ["llama_cpp/__init__.py", "llama_cpp/llama.py", "include/llama.h", "lib/libllama.so"]
    names += [f"llama_cpp/{name}" for name in backend.BINDINGS]
    for name in ("libllama", "libggml", "libggml-base", "libggml-cpu-haswell", "libggml-cpu-sapphirerapids"):
        names += [f"llama_cpp/lib/{name}.so{end}" for end in ("", ".0", ".0.25.3")]
    with ZipFile(tmp_path / "wheel.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "")
    with ZipFile(tmp_path / "wheel.zip") as archive:
        chosen = backend.chosen_members(archive)
    assert sorted(chosen) == [
        "_ctypes_extensions.py",
        "lib/libggml-base.so.0",
        "lib/libggml-cpu-haswell.so",
        "lib/libggml.so.0",
        "lib/libllama.so",
        "llama_cpp.py",
    ]


def test_the_companion_has_edgespecs_version_and_names_all_licences(backend: ModuleType):
    message = message_from_string(backend.metadata(backend.edgespec_version(), ["LICENSE-a", "LICENSE-b"]))
    assert (message["Name"], message["Version"]) == ("edgespec-llama", PROJECT["version"])
    assert message["License-Expression"] == "Apache-2.0 AND MIT"
    assert message.get_all("License-File") == ["LICENSE-a", "LICENSE-b"]
    assert "llama.cpp" in message.get_payload()


def test_edgespecs_wheel_asks_for_the_companion_and_for_nothing_else_that_is_compiled(script: ModuleType):
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    changed = tomllib.loads(script.with_companion(text))["project"]
    before, after = set(PROJECT["dependencies"]), set(changed.pop("dependencies"))
    assert after - before == {f"edgespec-llama=={PROJECT['version']}"}
    assert [one.split(">")[0] for one in before - after] == ["llama-cpp-python"]
    assert changed == {name: value for name, value in PROJECT.items() if name != "dependencies"}


def test_a_project_that_asks_otherwise_is_not_guessed_at(script: ModuleType):
    with pytest.raises(SystemExit, match="asks 0 times"):
        script.with_companion('[project]\nversion = "1"\ndependencies = []\n')
