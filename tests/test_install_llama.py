"""The script that builds llama-cpp-python: when it builds, with which flags, and what it says."""

import io
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from scripts import install_llama
from scripts.install_llama import Build
from tests.conftest import REPOSITORY
from tests.installer import run_installer

PLAIN = Build(version("llama-cpp-python"), "-DGGML_RPC=ON", "")
CUDA = Build(PLAIN.version, PLAIN.base_args, "-DGGML_CUDA=on")


def test_the_pinned_version_is_the_lower_bound_of_the_dependency():
    assert (
        f'"llama-cpp-python>={install_llama.pinned_version()},' in (REPOSITORY / "pyproject.toml").read_text()
    )


def test_the_users_flags_come_last_so_that_they_win():
    assert CUDA.cmake_args == "-DGGML_RPC=ON -DGGML_CUDA=on"


def test_the_flags_can_be_had_for_another_installer():
    ran = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "install_llama.py"), "--print-cmake-args"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "CMAKE_ARGS": "-DGGML_CUDA=on"},
    )
    assert (ran.stdout, ran.stderr) == (f"{install_llama.base_cmake_args()} -DGGML_CUDA=on\n", "")


def test_other_kernels_are_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = install_llama.kernels_version()
    assert f"-DEDGESPEC_KERNELS={before} " in install_llama.base_cmake_args()
    copy = tmp_path / "edgespec" / "llama" / "native"
    shutil.copytree(REPOSITORY / "edgespec" / "llama" / "native", copy)
    monkeypatch.setattr(install_llama, "REPOSITORY", tmp_path)
    assert install_llama.kernels_version() == before
    (copy / "few_rows.cpp").write_text("// nothing\n")
    assert install_llama.kernels_version() != before


def test_the_own_flags_name_an_existing_file_by_its_absolute_path():
    include = install_llama.base_cmake_args().rsplit("=", 1)[1].strip("'")
    assert Path(include).is_absolute()
    assert Path(include).is_file()


@pytest.mark.parametrize(
    ("wanted", "stamped", "expected"),
    [
        (PLAIN, PLAIN, True),
        (PLAIN, None, True),
        (PLAIN, CUDA, True),
        (CUDA, CUDA, True),
        (CUDA, PLAIN, False),
        (CUDA, None, False),
        (PLAIN, Build(PLAIN.version, "-DOLD=1", ""), False),
        (Build("99.0.0", PLAIN.base_args, ""), None, False),
    ],
    ids=[
        "same flags",
        "installed by somebody, no flags asked",
        "flags of an earlier install are kept",
        "same flags of the user",
        "flags added",
        "installed by somebody, flags asked",
        "the project's own flags changed",
        "a newer version is needed",
    ],
)
def test_it_builds_only_when_the_installed_one_does_not_fit(
    wanted: Build, stamped: Build | None, expected: bool
):
    assert install_llama.is_installed(wanted, stamped) is expected


@pytest.mark.parametrize(
    ("wanted", "stamped", "rebuild", "expected"),
    [
        (PLAIN, None, False, True),
        (PLAIN, Build("0.3.1", PLAIN.base_args, ""), False, True),
        (PLAIN, PLAIN, True, False),
        (CUDA, None, False, False),
        (PLAIN, Build(PLAIN.version, "-DOLD=1", ""), False, False),
    ],
    ids=["fresh", "upgrade", "rebuild", "flags of the user", "changed flags"],
)
def test_a_cached_wheel_is_taken_only_for_unchanged_own_flags(wanted, stamped, rebuild, expected):
    assert install_llama.may_use_cache(wanted, stamped, rebuild=rebuild) is expected


def test_a_cached_wheel_of_other_flags_is_not_kept_when_building_anew_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(install_llama, "STAMP", tmp_path / "stamp.json")
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    monkeypatch.setattr(sys, "argv", ["install_llama.py"])
    installed: list[bool] = []

    def install(_build: Build, *, use_cache: bool) -> bool:
        """pip: a wheel is in its cache, and the compiler fails."""
        installed.append(use_cache)
        return use_cache

    monkeypatch.setattr(install_llama, "install", install)
    monkeypatch.setattr(install_llama, "has_kernels", lambda: False)
    monkeypatch.setattr(install_llama, "has_fitting_version", lambda _version: bool(installed))
    assert install_llama.main() == 1
    assert install_llama.main() == 1
    assert installed == [True, False, False]


def test_the_stamp_survives_a_round_trip_and_rubbish_reads_as_none(tmp_path: Path):
    stamp = tmp_path / "stamp.json"
    assert install_llama.read_stamp(stamp) is None
    install_llama.write_stamp(stamp, CUDA)
    assert install_llama.read_stamp(stamp) == CUDA
    for rubbish in ("{", json.dumps({"version": "1"}), "[]"):
        stamp.write_text(rubbish)
        assert install_llama.read_stamp(stamp) is None


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("  [12/87] Building CXX object src/llama.cpp.o", (12, 87)),
        ("[  7%] Building C object ggml.c.o", (7, 100)),
        ("Collecting llama-cpp-python==0.3.36", (0, 0)),
    ],
)
def test_steps_of_ninja_and_make_are_read(line: str, step: tuple[int, int]):
    assert install_llama.parse_step(line) == step


def test_a_step_says_how_long_the_rest_takes():
    assert install_llama.describe_step(20, 80, 50.0) == "compiling llama.cpp, step 20 of 80, about 2:30 left"


def test_progress_on_a_terminal_rewrites_one_line(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    install_llama.show_progress(iter(["[1/3] a", "noise", "[3/3] c"]), 0.0)
    assert terminal.getvalue().count("\r\033[K") == 2
    assert terminal.getvalue().count("\n") == 1
    assert "step 3 of 3, about 0:00 left" in terminal.getvalue()


@pytest.mark.parametrize(
    ("log", "word"),
    [
        ("CMake Error: CMAKE_CXX_COMPILER not set", "compiler is missing"),
        ("Could not find nvcc, please set CUDAToolkit_ROOT", "CUDA toolkit"),
        ("ERROR: No matching distribution found for llama-cpp-python", "package index"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "CMAKE_BUILD_PARALLEL_LEVEL=1"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
    ],
)
def test_a_failure_names_what_is_likely_missing(log: str, word: str):
    assert word in install_llama.likely_cause(log)


def test_a_build_that_cannot_start_fails_with_one_last_line_that_names_the_log():
    ran = run_installer()
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[-1].startswith("edgespec: llama-cpp-python could not be installed. ")
    assert ran.stderr.rstrip().endswith(".log")


@pytest.mark.skipif(shutil.which("make") is None, reason="this machine has no make")
def test_make_with_an_old_python_says_so_in_one_line_and_leaves_nothing(tmp_path: Path):
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}
    }
    ran = subprocess.run(
        ["make", "--silent", "PYTHON=false", f"VENV={tmp_path / 'venv'}", "install"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[0] == (
        "edgespec: 'false' is not Python 3.11 or newer. "
        "Install one or name it: make PYTHON=python3.12 install"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("free_compilers", "cores", "expected"),
    [
        (100.0, 4, None),
        (6.0, 4, None),
        (5.9, 4, 4),
        (2.5, 4, 2),
        (0.4, 4, 1),
        (None, 64, None),
        (3.5, 1, None),
    ],
)
def test_no_more_compilers_run_side_by_side_than_memory_has_room_for(
    free_compilers: float | None, cores: int, expected: int | None
):
    free = None if free_compilers is None else int(free_compilers * install_llama.COMPILER_BYTES)
    assert install_llama.fewer_compilers(free, cores) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells before psutil is installed")
def test_free_memory_is_known_before_anything_is_installed():
    code = "import install_llama; print(install_llama.free_memory_bytes())"
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=REPOSITORY / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(ran.stdout) > 1 << 20
