"""What a build of llama.cpp for an accelerator needs beside a compiler, looked for before the compile.

CMake finds out after a minute that something is not there, and only the compiler, after many more, that headers are too
old. The places are those that CMake looks at (find_path, FindVulkan and CMakeDetermineCUDACompiler of its manual).
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VULKAN_NEEDED: Final = (1, 3, 272)
"""The first headers with `VK_EXT_layer_settings`, which ggml-vulkan.cpp uses without asking (tags of Vulkan-Headers)."""
SYSTEM: Final = tuple(Path(folder) for folder in ("/usr/local", "/usr", "/opt/homebrew", "/opt/local"))
_CUDA_FOLDERS: Final = (Path("/usr/local/cuda/bin"), Path("/opt/cuda/bin"))
_CUDA_SITE: Final = "https://developer.nvidia.com/cuda-downloads"
_ROCM_FOLDER: Final = "/opt/rocm"
_ON: Final = {"1", "on", "yes", "true", "y"}
_ELSEWHERE: Final = ("CMAKE_TOOLCHAIN_FILE", "CMAKE_SYSROOT", "CMAKE_FIND_ROOT_PATH")
"""With these CMake looks for another machine's headers in places of its own."""
_SDK: Final = "the SDK of https://vulkan.lunarg.com has it; CMAKE_ARGS takes -DCMAKE_PREFIX_PATH=FOLDER for one that lies elsewhere"


@dataclass(frozen=True, slots=True)
class Places:
    """Where CMake looks."""

    definitions: Mapping[str, str]
    environment: Mapping[str, str]
    system: tuple[Path, ...] = SYSTEM
    """Prefixes that come last."""

    def named(self, *names: str) -> str | None:
        """The value of the first definition, or variable of the environment, that there is."""
        found = (self.definitions.get(name) or self.environment.get(name) for name in names)
        return next(filter(None, found), None)

    def find(self, name: str, folders: tuple[str, ...], roots: tuple[str, ...] = ()) -> Path | None:
        """The first file called `name`.

        Args:
            name: Of the file.
            folders: Below a prefix; a pattern, or a name.
            roots: Names of definitions and variables whose values are prefixes too.
        """
        for prefix in self._prefixes(roots):
            for folder in folders:
                for place in sorted(prefix.glob(folder)):
                    if (place / name).exists():
                        return place / name
        return None

    def program(self, name: str, variables: tuple[str, ...] = (), roots: tuple[str, ...] = ()) -> Path | None:
        """A program: the one that a definition or variable names, else from a prefix or from PATH.

        Args:
            name: Without the ending that Windows has.
            variables: Names of definitions and variables that may hold its path.
            roots: Of those that may hold a prefix.
        """
        path = self.environment.get("PATH", "")
        named = self.named(*variables)
        if named is None:
            found = self.find(f"{name}.exe" if sys.platform == "win32" else name, ("bin", "Bin"), roots)
            if found:
                return found
        which = shutil.which(named or name, path=path)
        return Path(which) if which else None

    def _prefixes(self, roots: tuple[str, ...]) -> Iterator[Path]:
        given = self.definitions.get("CMAKE_PREFIX_PATH", "").split(";")
        given += self.environment.get("CMAKE_PREFIX_PATH", "").split(os.pathsep)
        given += [self.named(name) or "" for name in roots]
        yield from (Path(value) for value in given if value)
        for value in self.environment.get("PATH", "").split(os.pathsep):
            if Path(value).name in {"bin", "sbin"}:
                yield Path(value).parent
        yield from self.system


def what_is_missing(
    cmake_args: str, environment: Mapping[str, str], system: tuple[Path, ...] = SYSTEM
) -> str | None:
    """A sentence about what these flags ask for and this machine lacks; None where nothing is missing.

    Args:
        cmake_args: Flags of the build, as in CMAKE_ARGS.
        environment: Of the build.
        system: Prefixes that need not be named.
    """
    definitions = read_definitions(cmake_args)
    if any(name in definitions for name in _ELSEWHERE):
        return None
    places = Places(definitions, environment, system)
    for flag, look in _LOOKS.items():
        if definitions.get(flag, "").lower() in _ON and (missing := look(places)):
            return f"{missing}; or leave -D{flag}=on out"
    return None


def read_definitions(cmake_args: str) -> dict[str, str]:
    """`-DNAME=VALUE`, `-D NAME=VALUE` and `-DNAME:TYPE=VALUE` of a command line, the last of each name."""
    try:
        words = shlex.split(cmake_args)
    except ValueError:
        return {}
    found: dict[str, str] = {}
    for before, word in zip(["", *words], words, strict=False):
        text = word if before == "-D" else word.removeprefix("-D") if word.startswith("-D") else ""
        name, equals, value = text.partition("=")
        if equals:
            found[name.partition(":")[0]] = value
    return found


def header_version(core: Path) -> tuple[int, int, int] | None:
    """Of a vulkan_core.h, such as (1, 3, 239); None where it does not say."""
    try:
        text = core.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    patch = re.search(r"#define VK_HEADER_VERSION (\d+)", text)
    complete = re.search(r"#define VK_HEADER_VERSION_COMPLETE VK_MAKE_(?:API_)?VERSION\(([\d, ]+), VK_", text)
    if not patch or not complete:
        return None
    major, minor = (int(number) for number in complete[1].split(",")[-2:])
    return major, minor, int(patch[1])


def _vulkan(places: Places) -> str | None:
    headers = _vulkan_headers(places)
    needed = ".".join(map(str, VULKAN_NEEDED))
    where = f"Debian 13, Ubuntu 24.04 and Fedora 40 have such (libvulkan-dev, vulkan-headers), and {_SDK}"
    if headers is None:
        return f"Vulkan needs its headers, {needed} or newer, and vulkan/vulkan.hpp was not found: {where}"
    version = header_version(headers / "vulkan_core.h")
    if version is not None and version < VULKAN_NEEDED:
        found = ".".join(map(str, version))
        return f"Vulkan needs headers of {needed} or newer, and those in {headers} are {found}: {where}"
    if not places.program("glslc", ("Vulkan_GLSLC_EXECUTABLE",), ("VULKAN_SDK",)):
        return f"Vulkan needs the compiler of its shaders, and glslc was not found: install the package glslc, or {_SDK}"
    spirv = ("include/spirv/unified1", "include/spirv-headers", "Include/spirv/unified1")
    if not places.find("spirv.hpp", spirv, ("VULKAN_SDK",)):
        return f"Vulkan needs the headers of SPIR-V, and spirv.hpp was not found: install the package spirv-headers (spirv-headers-devel), or {_SDK}"
    if not _vulkan_library(places):
        return f"Vulkan needs its loader to link with, and libvulkan was not found: install the package libvulkan-dev (vulkan-loader-devel), or {_SDK}"
    return None


def _vulkan_headers(places: Places) -> Path | None:
    """The folder of vulkan.hpp and vulkan_core.h."""
    named = places.named("Vulkan_INCLUDE_DIR")
    if named is not None:
        return Path(named, "vulkan") if Path(named, "vulkan", "vulkan.hpp").exists() else None
    found = places.find("vulkan.hpp", ("include/vulkan", "Include/vulkan"), ("VULKAN_SDK",))
    return found.parent if found else None


def _vulkan_library(places: Places) -> bool:
    if places.named("Vulkan_LIBRARY"):
        return True
    name = {"win32": "vulkan-1.lib", "darwin": "libvulkan.dylib"}.get(sys.platform, "libvulkan.so")
    # Of an SDK FindVulkan looks at `lib` alone, of a prefix at the folders of its architecture too.
    in_sdk = places.find(name, ("lib", "lib64", "Lib"), ("VULKAN_SDK",))
    return bool(in_sdk or places.find(name, ("lib/*-linux-gnu*",)))


def _cuda(places: Places) -> str | None:
    if nvcc := places.program("nvcc", ("CMAKE_CUDA_COMPILER", "CUDACXX"), ("CUDA_PATH",)):
        return _cuda_libraries(places, nvcc)
    unseen = next((folder / "nvcc" for folder in _CUDA_FOLDERS if (folder / "nvcc").exists()), None)
    if unseen is not None and not places.named("CMAKE_CUDA_COMPILER", "CUDACXX"):
        return f"CUDA needs nvcc in PATH, where it is not: set CUDACXX={unseen}"
    return (
        f"CUDA needs its compiler, and nvcc was not found: install the toolkit of {_CUDA_SITE}, "
        "or name it with CUDACXX=FOLDER/bin/nvcc"
    )


def _cuda_libraries(places: Places, nvcc: Path) -> str | None:
    """What is missing to link with: package managers offer the compiler without them."""
    top = _cuda_top(nvcc)
    if top is None or any(
        places.named(name) for name in ("CMAKE_LIBRARY_PATH", "CUDAToolkit_ROOT", "CONDA_PREFIX")
    ):
        return None
    wanted = {"cublas": "cuBLAS"}
    if places.definitions.get("GGML_CUDA_NO_VMM", "").lower() not in _ON:
        wanted["cuda"] = "the driver's library, or the toolkit's stub of it"
    folders = (
        "lib64",
        "lib",
        "lib/x64",
        "lib64/stubs",
        "lib/stubs",
        "targets/*/lib",
        "targets/*/lib/stubs",
        "lib/*-linux-gnu*",
    )
    for name, words in wanted.items():
        file = f"{name}.lib" if sys.platform == "win32" else f"lib{name}.so"
        there = any((place / file).exists() for folder in folders for place in sorted(top.glob(folder)))
        if not there and not places.find(file, folders, ("CUDA_PATH",)):
            return (
                f"CUDA needs {words} to link with, and {file} was not found in {top}: install the whole toolkit of "
                f"{_CUDA_SITE}, or name its folder with CMAKE_ARGS=-DCUDAToolkit_ROOT=FOLDER"
            )
    return None


def _cuda_top(nvcc: Path) -> Path | None:
    """The toolkit's folder, as nvcc tells it to CMake's FindCUDAToolkit; None where it does not."""
    try:
        told = subprocess.run(
            [nvcc, "-v", "__edgespec"], capture_output=True, text=True, errors="replace", timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"^#\$ TOP=(.+)$", told.stderr + told.stdout, re.MULTILINE)
    return Path(found[1].strip()).resolve() if found else None


def _hip(places: Places) -> str | None:
    if places.find("hipconfig", ("bin",), ("ROCM_PATH", "HIP_PATH")) or Path(_ROCM_FOLDER).exists():
        return None
    return "HIP needs AMD's ROCm, and hipconfig was not found: see https://rocm.docs.amd.com, or name it with ROCM_PATH=FOLDER"


def _sycl(places: Places) -> str | None:
    if places.named("CMAKE_CXX_COMPILER", "CXX") or places.program("icpx"):
        return None
    return "SYCL needs Intel's oneAPI, and its compiler icpx was not found: install the base toolkit, and source its setvars.sh"


def _metal(_places: Places) -> str | None:
    return None if sys.platform == "darwin" else "Metal is there on macOS alone"


_LOOKS: Final[dict[str, Callable[[Places], str | None]]] = {
    "GGML_CUDA": _cuda,
    "GGML_VULKAN": _vulkan,
    "GGML_HIP": _hip,
    "GGML_SYCL": _sycl,
    "GGML_METAL": _metal,
}
