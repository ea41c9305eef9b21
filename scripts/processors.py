"""llama.cpp with edgespec's kernels, built for several processors: for this machine, and for AArch64, which QEMU plays.

What `check_kernels.py` and `check_generation.py` build and run their programs with.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build_test_archs import run_quietly
from install_llama import REPOSITORY

_OFF = "BUILD_SHARED_LIBS GGML_OPENMP LLAMA_OPENSSL LLAMA_BUILD_COMMON LLAMA_BUILD_TESTS LLAMA_BUILD_TOOLS "
_OFF += "LLAMA_BUILD_EXAMPLES LLAMA_BUILD_SERVER"
_ARM = "aarch64-linux-gnu"


@dataclass(frozen=True)
class Target:
    """A build: CMake's flags, and the processors that QEMU plays, if it has to."""

    name: str
    flags: tuple[str, ...]
    qemu_cpus: tuple[str, ...] = ()

    @property
    def compiler(self) -> str:
        """Of C++."""
        return f"{_ARM}-g++" if self.qemu_cpus else "g++"

    @property
    def cpus(self) -> tuple[str, ...]:
        """Those that its programs run on; an empty name is this machine."""
        return self.qemu_cpus or ("",)


def _arm(architecture: str, *qemu_cpus: str) -> Target:
    flags = (
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_C_COMPILER={_ARM}-gcc",
        f"-DCMAKE_CXX_COMPILER={_ARM}-g++",
        "-DGGML_NATIVE=OFF",
        f"-DGGML_CPU_ARM_ARCH={architecture}",
    )
    return Target(architecture, flags, qemu_cpus)


TARGETS = (
    Target("native", ("-DGGML_NATIVE=ON",)),
    Target("avx2", ("-DGGML_NATIVE=OFF",)),
    _arm("armv8-a", "cortex-a53", "cortex-a72"),
    _arm("armv8.2-a+dotprod", "cortex-a76", "neoverse-n1"),
    _arm(
        "armv8.6-a+dotprod+i8mm+sve", "max,sve128=on,sve256=off,sve512=off", "max,sve256=on,sve512=off", "max"
    ),
)


def missing_programs() -> str:
    """What is not installed of all that the builds need, and where Debian has it; empty if nothing."""
    programs = ("cmake", "ninja", "g++", f"{_ARM}-g++", "qemu-aarch64")
    missing = [name for name in programs if shutil.which(name) is None]
    if not missing:
        return ""
    return f"not found: {', '.join(missing)}; Debian has cmake, ninja-build, g++-{_ARM} and qemu-user"


def build(target: Target, sources: Path, folder: Path, libraries: Sequence[str]) -> Path:
    """Compiles llama.cpp's `libraries`, such as `ggml-cpu`, with the kernels; returns the folder of the build."""
    built = folder / target.name
    include = REPOSITORY / "scripts" / "llama-build.cmake"
    flags = [f"-D{name}=OFF" for name in _OFF.split()]
    flags += [f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={include}", "-DEDGESPEC_KERNELS=checked"]
    flags += ["-DCMAKE_BUILD_TYPE=Release", *target.flags]
    run_quietly(["cmake", "-G", "Ninja", "-S", str(sources), "-B", str(built), *flags])
    run_quietly(["cmake", "--build", str(built), "--target", *libraries])
    return built


def compile_program(
    target: Target, source: Path, sources: Path, libraries: Sequence[Path], built: Path
) -> Path:
    """Compiles a program of one file and links it with llama.cpp's `libraries`; returns it."""
    program = built / source.stem
    includes = [f"-I{sources / name}" for name in ("include", "ggml/include")]
    command = [target.compiler, "-std=c++17", "-O2", "-static", *includes, str(source), "-o", str(program)]
    run_quietly([*command, *map(str, libraries), "-lpthread", "-lm", "-ldl"])
    return program


def started(program: Path, cpu: str, *arguments: str) -> list[str]:
    """The command that runs a program of a build on one of its `cpus`."""
    return [*(["qemu-aarch64", "-cpu", cpu] if cpu else []), str(program), *arguments]


def name_of(target: Target, cpu: str) -> str:
    """Of a build on one of its `cpus`, for a report."""
    return f"{target.name} on {cpu}" if cpu else target.name
