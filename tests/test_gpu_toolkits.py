"""What a build for a GPU lacks, found before the compile: in folders with small headers of the real form."""

import sys
from pathlib import Path

import pytest

from scripts.gpu_toolkits import header_version, read_definitions, what_is_missing
from tests.installer import run_installer

VULKAN = "-DGGML_VULKAN=on"
LOADER = {"win32": "vulkan-1.lib", "darwin": "libvulkan.dylib"}.get(sys.platform, "libvulkan.so")
ENDING = ".exe" if sys.platform == "win32" else ""


def write_program(path: Path) -> Path:
    """A program that may be run and does nothing."""
    path = path.with_name(path.name + ENDING)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def write_vulkan(prefix: Path, patch: int = 309, minor: int = 4, *, without: str = "") -> Path:
    """All that a Vulkan build needs, as packages lay it out, but for one file."""
    files = {
        "include/vulkan/vulkan.hpp": "",
        "include/vulkan/vulkan_core.h": (
            f"// Version of this file\n#define VK_HEADER_VERSION {patch}\n\n// Complete version of this file\n"
            f"#define VK_HEADER_VERSION_COMPLETE VK_MAKE_API_VERSION(0, 1, {minor}, VK_HEADER_VERSION)\n"
        ),
        "include/spirv/unified1/spirv.hpp": "",
        f"lib/{LOADER}": "",
    }
    for name, text in files.items():
        if Path(name).name != without:
            (prefix / name).parent.mkdir(parents=True, exist_ok=True)
            (prefix / name).write_text(text, encoding="utf-8")
    if without != "glslc":
        write_program(prefix / "bin" / "glslc")
    return prefix


def missing(flags: str, *, path: Path | None = None, system: tuple[Path, ...] = (), **variables: Path) -> str:
    """What is missed with these flags and variables on a machine that has nothing else."""
    environment = {name: str(value) for name, value in variables.items()} | {"PATH": str(path or "")}
    return what_is_missing(flags, environment, system) or ""


def test_a_build_for_the_cpu_needs_nothing_more():
    assert missing("-DGGML_RPC=ON -DLLAVA_BUILD=OFF -DGGML_VULKAN=off") == ""


def test_headers_that_are_too_old_are_named_with_those_that_are_needed(tmp_path: Path):
    old = write_vulkan(tmp_path / "usr", patch=239, minor=3)
    said = missing(VULKAN, system=(old,))
    assert said.startswith(
        f"Vulkan needs headers of 1.3.272 or newer, and those in {old / 'include' / 'vulkan'} are 1.3.239: "
    )
    assert "Debian 13" in said
    assert "https://vulkan.lunarg.com" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("minor", "patch", "is_enough"), [(3, 271, False), (3, 272, True), (4, 303, True), (2, 300, False)]
)
def test_the_first_headers_that_will_do(tmp_path: Path, minor: int, patch: int, is_enough: bool):
    write_vulkan(tmp_path, patch=patch, minor=minor)
    assert (missing(VULKAN, system=(tmp_path,)) == "") is is_enough


@pytest.mark.parametrize(
    ("without", "word"),
    [
        ("vulkan.hpp", "vulkan/vulkan.hpp was not found"),
        ("glslc", "glslc was not found"),
        ("spirv.hpp", "spirv.hpp was not found"),
        (LOADER, "libvulkan was not found"),
    ],
)
def test_each_part_that_is_not_there_is_named(tmp_path: Path, without: str, word: str):
    write_vulkan(tmp_path, without=without)
    said = missing(VULKAN, system=(tmp_path,))
    assert word in said
    assert said.endswith("; or leave -DGGML_VULKAN=on out")


def test_headers_in_a_folder_that_was_named_come_before_the_systems(tmp_path: Path):
    old = write_vulkan(tmp_path / "usr", patch=239, minor=3)
    new = write_vulkan(tmp_path / "new")
    assert "1.3.239" in missing(VULKAN, system=(old,))
    assert missing(f"{VULKAN} -DCMAKE_PREFIX_PATH={new.as_posix()}", system=(old,)) == ""
    assert missing(f"{VULKAN} '-DCMAKE_PREFIX_PATH=/elsewhere;{new.as_posix()}'", system=(old,)) == ""
    assert missing(VULKAN, system=(old,), CMAKE_PREFIX_PATH=new) == ""
    assert missing(VULKAN, system=(old,), VULKAN_SDK=new) == ""
    headers = (new / "include").as_posix()
    assert missing(f"{VULKAN} -DVulkan_INCLUDE_DIR:PATH={headers}", system=(old,)) == ""
    assert "1.3.239" in missing(f"{VULKAN} -DCMAKE_PREFIX_PATH={old.as_posix()}", system=(new,))


def test_a_prefix_is_known_by_its_programs(tmp_path: Path):
    prefix = write_vulkan(tmp_path)
    assert missing(VULKAN, path=prefix / "bin") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="folders of an architecture are Linux's")
def test_the_folder_of_the_architecture_counts_in_a_prefix_and_not_in_an_sdk(tmp_path: Path):
    prefix = write_vulkan(tmp_path, without=LOADER)
    library = prefix / "lib" / "x86_64-linux-gnu" / LOADER
    library.parent.mkdir(parents=True)
    library.touch()
    assert missing(f"{VULKAN} -DCMAKE_PREFIX_PATH={prefix}") == ""
    assert "libvulkan was not found" in missing(VULKAN, VULKAN_SDK=prefix)


def test_nothing_is_judged_when_cmake_looks_at_another_machine(tmp_path: Path):
    write_vulkan(tmp_path, patch=239, minor=3)
    assert missing(f"{VULKAN} -DCMAKE_TOOLCHAIN_FILE=board.cmake", system=(tmp_path,)) == ""


def test_headers_without_a_version_are_left_to_the_compiler(tmp_path: Path):
    core = write_vulkan(tmp_path) / "include" / "vulkan" / "vulkan_core.h"
    core.write_text("#pragma once\n", encoding="utf-8")
    assert header_version(core) is None
    assert missing(VULKAN, system=(tmp_path,)) == ""
    assert header_version(tmp_path / "none.h") is None


def test_cuda_needs_its_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scripts.gpu_toolkits._CUDA_FOLDERS", (tmp_path / "cuda" / "bin",))
    cuda = "-DGGML_CUDA=ON"
    said = missing(cuda)
    assert "nvcc was not found" in said
    assert "https://developer.nvidia.com/cuda-downloads" in said
    nvcc = write_program(tmp_path / "cuda" / "bin" / "nvcc")
    assert missing(cuda, path=nvcc.parent) == ""
    assert missing(cuda, CUDACXX=nvcc) == ""
    assert missing(cuda, CUDA_PATH=nvcc.parent.parent) == ""
    assert missing(f"{cuda} -DCMAKE_CUDA_COMPILER={nvcc.as_posix()}") == ""
    assert "nvcc was not found" in missing(cuda, CUDACXX=tmp_path / "gone")


@pytest.mark.skipif(sys.platform == "win32", reason="the toolkit's usual folder is Unix's")
def test_a_cuda_toolkit_outside_the_path_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nvcc = write_program(tmp_path / "nvcc")
    monkeypatch.setattr("scripts.gpu_toolkits._CUDA_FOLDERS", (tmp_path,))
    assert missing("-DGGML_CUDA=ON").startswith(
        f"CUDA needs nvcc in PATH, where it is not: set CUDACXX={nvcc}"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="the compiler that plays nvcc is a shell's script")
def test_a_cuda_toolkit_without_its_libraries_is_named(tmp_path: Path):
    cuda, top = "-DGGML_CUDA=ON", tmp_path / "toolkit"
    nvcc = write_program(tmp_path / "bin" / "nvcc")
    nvcc.write_text(
        f"#!/bin/sh\necho '#$ _HERE_={top}/bin' >&2\necho '#$ TOP={top}/bin/..' >&2\n", encoding="utf-8"
    )
    (top / "bin").mkdir(parents=True)
    cublas, stub = (
        top / "targets" / "x86_64-linux" / "lib" / "libcublas.so",
        top / "lib64" / "stubs" / "libcuda.so",
    )
    for file in (cublas, stub):
        said = missing(cuda, path=nvcc.parent)
        assert f"{file.name} was not found in {top}" in said
        assert "-DCUDAToolkit_ROOT=FOLDER; or leave -DGGML_CUDA=on out" in said
        assert missing(f"{cuda} -DCUDAToolkit_ROOT={top}", path=nvcc.parent) == ""
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
    assert missing(cuda, path=nvcc.parent) == ""
    stub.unlink()
    assert missing(f"{cuda} -DGGML_CUDA_NO_VMM=on", path=nvcc.parent) == ""
    (tmp_path / "usr" / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "x86_64-linux-gnu" / "libcuda.so").write_bytes(b"")
    assert missing(cuda, path=nvcc.parent, system=(tmp_path / "usr",)) == ""


def test_rocm_and_oneapi_are_looked_for_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scripts.gpu_toolkits._ROCM_FOLDER", str(tmp_path / "rocm"))
    assert "hipconfig was not found" in missing("-DGGML_HIP=1")
    assert "icpx was not found" in missing("-DGGML_SYCL=yes")
    (tmp_path / "rocm").mkdir()
    assert missing("-DGGML_HIP=1") == ""
    assert missing("-DGGML_SYCL=yes", path=write_program(tmp_path / "bin" / "icpx").parent) == ""


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has it")
def test_metal_is_there_on_macos_alone():
    assert missing("-DGGML_METAL=on") == "Metal is there on macOS alone; or leave -DGGML_METAL=on out"


def test_definitions_are_read_as_cmake_reads_them():
    flags = "-DA=1 -D B=two -DC:BOOL=ON '-DD=with space' -DA=2 -GNinja E=no"
    assert read_definitions(flags) == {"A": "2", "B": "two", "C": "ON", "D": "with space"}
    assert read_definitions("-DA='unclosed") == {}


def test_an_install_ends_before_the_compile_with_one_line(tmp_path: Path):
    old = write_vulkan(tmp_path, patch=239, minor=3)
    flags = f"{VULKAN} -DCMAKE_PREFIX_PATH={old.as_posix()}"
    # Should the check be passed over, pip fails at once.
    ran = run_installer(CMAKE_ARGS=flags)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("edgespec: llama-cpp-python was not built: Vulkan needs headers of 1.3.272")
    assert ran.stderr.count("\n") == 1
