"""Builds edgespec's kernels for several processors, AArch64 under emulation, and compares what they compute.

    python scripts/check_kernels.py FOLDER [--sdist llama_cpp_python-*.tar.gz]

ggml is compiled from the sources of the llama-cpp-python that pyproject.toml names: for this machine, for AVX2 alone,
and for AArch64 as it was first, with dotprod, and with i8mm and SVE. Each build multiplies the same quantized matrices
of every type, dense and of experts, and attends to the same caches. Every result has to be near the sums over
dequantized weights, a row has to have the same bits in every batch, and all builds have to agree.

Needs an x86 machine with Linux, CMake, Ninja, and Debian's packages g++-aarch64-linux-gnu and qemu-user. A build takes
some two minutes, and what is built stays in FOLDER. Not part of CI. Of the speed on AArch64 emulation says nothing.
"""

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from build_test_archs import fail, fetch_sdist, run_quietly, unpack
from install_llama import REPOSITORY
from numpy.typing import NDArray

PROGRAM = Path(__file__).with_suffix(".cpp")
MOST_DIFFERENCE = 1e-5
"""Between two builds, as a share of the largest result: attention adds up in vectors of other widths."""
_OFF = "BUILD_SHARED_LIBS GGML_OPENMP LLAMA_OPENSSL LLAMA_BUILD_COMMON LLAMA_BUILD_TESTS LLAMA_BUILD_TOOLS "
_OFF += "LLAMA_BUILD_EXAMPLES LLAMA_BUILD_SERVER"
_ARM = "aarch64-linux-gnu"


@dataclass(frozen=True)
class Target:
    """A build: CMake's flags, and the processor that QEMU plays, if it has to."""

    name: str
    flags: tuple[str, ...]
    qemu_cpu: str = ""

    @property
    def compiler(self) -> str:
        """Of C++."""
        return f"{_ARM}-g++" if self.qemu_cpu else "g++"

    @property
    def emulator(self) -> list[str]:
        """What a program of the build is started with."""
        return ["qemu-aarch64", "-cpu", self.qemu_cpu] if self.qemu_cpu else []


def arm(architecture: str, qemu_cpu: str) -> Target:
    """A build for AArch64."""
    flags = (
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_C_COMPILER={_ARM}-gcc",
        f"-DCMAKE_CXX_COMPILER={_ARM}-g++",
        "-DGGML_NATIVE=OFF",
        f"-DGGML_CPU_ARM_ARCH={architecture}",
    )
    return Target(architecture, flags, qemu_cpu)


TARGETS = (
    Target("native", ("-DGGML_NATIVE=ON",)),
    Target("avx2", ("-DGGML_NATIVE=OFF",)),
    arm("armv8-a", "cortex-a72"),
    arm("armv8.2-a+dotprod", "neoverse-n1"),
    arm("armv8.6-a+dotprod+i8mm+sve", "max"),
)


def main() -> int:
    """Builds, runs and compares. Returns 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where it is built")
    parser.add_argument("--sdist", type=Path, help="the source archive; fetched with pip unless given")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    programs = ("cmake", "ninja", "g++", f"{_ARM}-g++", "qemu-aarch64")
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        return fail(
            f"not found: {', '.join(missing)}; Debian has cmake, ninja-build, g++-{_ARM} and qemu-user"
        )
    try:
        sources = unpack(arguments.sdist or fetch_sdist(folder), folder)
        results = [run(target, build(target, sources, folder), folder) for target in TARGETS]
    except (OSError, subprocess.CalledProcessError) as err:
        return fail(f"{err}\n{getattr(err, 'stdout', '') or ''}{getattr(err, 'stderr', '') or ''}".strip())
    differences = [largest_difference(results[0], result) for result in results[1:]]
    for target, difference in zip(TARGETS[1:], differences, strict=True):
        print(f"{target.name}: at most {difference:.1e} from {TARGETS[0].name}")
    return 0 if max(differences) < MOST_DIFFERENCE else fail("the builds differ")


def build(target: Target, sources: Path, folder: Path) -> Path:
    """Compiles ggml with the kernels, and the program that checks them; returns the program."""
    print(f"building for {target.name}", file=sys.stderr)
    built = folder / target.name
    include = REPOSITORY / "scripts" / "llama-build.cmake"
    flags = [f"-D{name}=OFF" for name in _OFF.split()]
    flags += [f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={include}", "-DEDGESPEC_KERNELS=checked"]
    flags += ["-DCMAKE_BUILD_TYPE=Release", *target.flags]
    run_quietly(["cmake", "-G", "Ninja", "-S", str(sources), "-B", str(built), *flags])
    run_quietly(["ninja", "-C", str(built), "ggml-base", "ggml-cpu"])
    program = built / PROGRAM.stem
    libraries = [str(built / "ggml" / "src" / f"libggml-{name}.a") for name in ("cpu", "base")]
    command = [target.compiler, "-std=c++17", "-O2", "-static", f"-I{sources / 'ggml' / 'include'}"]
    run_quietly([*command, str(PROGRAM), "-o", str(program), *libraries, "-lpthread", "-lm"])
    return program


def run(target: Target, program: Path, folder: Path) -> list[NDArray[np.float32]]:
    """Checks one build, with what the first one made up; returns the results of its cases."""
    made, output = folder / "input.bin", program.with_suffix(".out")
    if target is TARGETS[0]:
        run_quietly([str(program), "make", str(made)])
    print(f"{target.name}{f' on {target.qemu_cpu}' if target.qemu_cpu else ''}", flush=True)
    subprocess.run([*target.emulator, str(program), "run", str(made), str(output)], check=True)
    cases = []
    with output.open("rb") as file:
        while (count := np.fromfile(file, np.uint64, 1)).size:
            cases.append(np.fromfile(file, np.float32, int(count[0])))
    return cases


def largest_difference(first: list[NDArray[np.float32]], second: list[NDArray[np.float32]]) -> float:
    """Of two builds' results, case by case: as a share of the case's largest result."""
    return max(
        float(np.abs(one - other).max() / np.abs(one).max()) for one, other in zip(first, second, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
