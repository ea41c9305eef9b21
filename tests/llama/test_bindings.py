"""Bindings from edgespec-llama, where there is no llama-cpp-python: the same files in a folder of another package."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgespec.llama.bindings import bindings_version, load_backends, open_libraries

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def installed() -> Path:
    """The package of llama-cpp-python."""
    spec = find_spec("llama_cpp")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture
def companion_only(tmp_path: Path, installed: Path) -> Path:
    """A folder of packages like that of this Python, with edgespec-llama in the place of llama-cpp-python."""
    for package in installed.parent.iterdir():
        if not package.name.startswith("llama_cpp") and package.suffix != ".pth":
            (tmp_path / package.name).symlink_to(package)
    own = tmp_path / "edgespec_llama" / "llama_cpp"
    own.mkdir(parents=True)
    for name in ("llama_cpp.py", "_ctypes_extensions.py", "lib"):
        (own / name).symlink_to(installed / name)
    own.with_name("__init__.py").write_text('LLAMA_CPP_PYTHON = "0.3.99"\n')
    info = tmp_path / "edgespec_llama-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: edgespec-llama\nVersion: 0.1.0\n")
    return tmp_path


def run_with(packages: Path, code: str) -> subprocess.CompletedProcess[str]:
    """In a Python whose own packages are not there."""
    path = os.pathsep.join([str(REPOSITORY), str(packages)])
    return subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links want rights there")
def test_the_companion_stands_in_for_llama_cpp_python(companion_only: Path, tiny_model: Path):
    code = f"""
from pathlib import Path
from edgespec.llama.build import describe_backends
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
print(load_library().__file__)
print(describe_backends().llama_cpp_python)
with Model(Path({str(tiny_model)!r})) as model, Context(model, ContextSettings(256, 1)) as context:
    context.prefill(model.tokenize("the cat"))
    print(context.n_past > 1)
"""
    ran = run_with(companion_only, code)
    file = companion_only / "edgespec_llama" / "llama_cpp" / "llama_cpp.py"
    assert (ran.stdout.splitlines(), ran.stderr) == ([str(file), "0.3.99 (edgespec-llama 0.1.0)", "True"], "")


@pytest.mark.skipif(sys.platform == "win32", reason="links want rights there")
def test_without_either_package_the_error_says_what_to_install(companion_only: Path):
    code = """
import sys
sys.modules["edgespec_llama"] = None
from edgespec.errors import EngineError
from edgespec.llama import bindings
bindings.COMPANION = "edgespec_no_llama"
from edgespec.llama.library import load_library
try:
    load_library()
except EngineError as error:
    print(error.message)
"""
    ran = run_with(companion_only, code)
    assert (ran.stdout, ran.stderr) == (
        "llama-cpp-python cannot be loaded: No module named 'llama_cpp'\n",
        "",
    )


def test_what_was_compiled_here_comes_before_the_companion():
    assert bindings_version() == version("llama-cpp-python")
    assert re.fullmatch(r"0\.\d+\.\d+\S*", bindings_version())


def test_backends_of_the_library_itself_are_not_loaded_again(installed: Path):
    load_backends(installed / "lib")
    assert all("ggml-cpu-" not in (library._name or "") for library in open_libraries(installed / "lib"))
