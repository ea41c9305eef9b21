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
import subprocess
import sys
from pathlib import Path

import numpy as np
from build_test_archs import fail, fetch_sdist, run_quietly, unpack
from numpy.typing import NDArray
from processors import TARGETS, Target, build, compile_program, missing_programs, name_of, started

PROGRAM = Path(__file__).with_suffix(".cpp")
MOST_DIFFERENCE = 1e-5
"""Between two builds, as a share of the largest result: attention adds up in vectors of other widths."""
ROUNDED = ("bf16",)
"""Cases that only some processors round the rows of, to eight bits of precision."""
MOST_ROUNDED_DIFFERENCE = 5e-3


def main() -> int:
    """Builds, runs and compares. Returns 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where it is built")
    parser.add_argument("--sdist", type=Path, help="the source archive; fetched with pip unless given")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if missing := missing_programs():
        return fail(missing)
    try:
        sources = unpack(arguments.sdist or fetch_sdist(folder), folder)
        results = []
        for target in TARGETS:
            program = build_program(target, sources, folder)
            results += [(name_of(target, cpu), run(target, cpu, program, folder)) for cpu in target.cpus]
    except (OSError, subprocess.CalledProcessError) as err:
        return fail(f"{err}\n{getattr(err, 'stdout', '') or ''}{getattr(err, 'stderr', '') or ''}".strip())
    do_agree = True
    for name, result in results[1:]:
        for rounded, most in ((False, MOST_DIFFERENCE), (True, MOST_ROUNDED_DIFFERENCE)):
            difference = largest_difference(results[0][1], result, rounded=rounded)
            what = "rounded rows" if rounded else "all others"
            print(f"{name}, {what}: at most {difference:.1e} from {TARGETS[0].name}")
            do_agree = do_agree and difference < most
    return 0 if do_agree else fail("the builds differ")


def build_program(target: Target, sources: Path, folder: Path) -> Path:
    """Compiles ggml with the kernels, and the program that checks them; returns the program."""
    print(f"building for {target.name}", file=sys.stderr)
    built = build(target, sources, folder, ("ggml-base", "ggml-cpu"))
    libraries = [built / "ggml" / "src" / f"libggml-{name}.a" for name in ("cpu", "base")]
    return compile_program(target, PROGRAM, sources, libraries, built)


def run(target: Target, cpu: str, program: Path, folder: Path) -> dict[str, NDArray[np.float32]]:
    """Checks one build, with what the first one made up; returns the results of its cases by their names."""
    made, output = folder / "input.bin", program.with_suffix(".out")
    if target is TARGETS[0]:
        run_quietly([str(program), "make", str(made)])
    print(name_of(target, cpu), flush=True)
    subprocess.run(started(program, cpu, "run", str(made), str(output)), check=True)
    cases = {}
    with output.open("rb") as file:
        while length := file.read(8):
            name = file.read(int.from_bytes(length, sys.byteorder)).decode()
            count = int.from_bytes(file.read(8), sys.byteorder)
            cases[name] = np.frombuffer(file.read(4 * count), np.float32)
    return cases


def largest_difference(
    first: dict[str, NDArray[np.float32]], second: dict[str, NDArray[np.float32]], *, rounded: bool
) -> float:
    """Of two builds' results, case by case: as a share of the case's largest result."""
    return max(
        float(np.abs(one - second[name]).max() / np.abs(one).max())
        for name, one in first.items()
        if name.startswith(ROUNDED) == rounded
    )


if __name__ == "__main__":
    sys.exit(main())
