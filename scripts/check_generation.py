"""Builds llama.cpp with edgespec's kernels for several AArch64 processors, runs models there under emulation, and compares.

    python scripts/check_generation.py FOLDER [--sdist llama_cpp_python-*.tar.gz] [--model FILE.gguf]...

All of llama.cpp is compiled with a cross compiler, as `check_kernels.py` compiles ggml, and linked with a program that reads a text
in batches of 1, 3 and 8 tokens and in a whole, which have to give the same logits to the last bit, and goes on with it for some
tokens. The same program, linked with the llama.cpp that is installed, does so on this machine: logits have to be near. The table
says how far they are away, and whether the tokens are the same.

Models are tiny random ones, one in F32 and one for each of some types, and those of `--model`: SmolLM2 takes minutes on
each processor. Needs an x86 machine with Linux, an environment with edgespec, and what `check_kernels.py` needs. Not part of CI.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from build_test_archs import fail, fetch_sdist, run_quietly, unpack
from install_llama import REPOSITORY
from numpy.typing import NDArray
from processors import TARGETS, build, compile_program, missing_programs, name_of, started

PROGRAM = Path(__file__).with_suffix(".cpp")
TEXT = "The three primary colours are red, green and"
N_NEW = 8
LIBRARIES = ("llama", "ggml", "ggml-base", "ggml-cpu")
TYPES = ("Q4_0", "Q8_0", "Q4_K_M", "Q6_K", "IQ4_XS", "BF16")
MOST_DIFFERENCE = 2e-2
"""Between a processor's logits and this machine's, as a share of the largest: rows and caches are rounded, to whole numbers of
eight bits and to halves, and a last bit may tip a value over to its neighbour. BF16 rows are rounded on some processors only."""


@dataclass(frozen=True)
class Answer:
    """What a model said on a processor: logits of the text's tokens, and the tokens after it."""

    isa: str
    logits: NDArray[np.float32]
    tokens: tuple[int, ...]
    seconds: float


def main() -> int:
    """Builds, runs and compares. Returns 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where it is built")
    parser.add_argument("--sdist", type=Path, help="the source archive; fetched with pip unless given")
    parser.add_argument("--model", type=Path, action="append", default=[], help="beside the tiny ones")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if missing := missing_programs():
        return fail(missing)
    sys.path.insert(0, str(REPOSITORY))
    try:
        models = [*make_models(folder / "models"), *arguments.model]
        sources = unpack(arguments.sdist or fetch_sdist(folder), folder)
        programs = build_programs(sources, folder)
        faults = [fault for model in models for fault in compare(model, programs)]
    except (OSError, subprocess.CalledProcessError) as err:
        return fail(f"{err}\n{getattr(err, 'stdout', '') or ''}{getattr(err, 'stderr', '') or ''}".strip())
    return fail("; ".join(faults)) if faults else 0


def make_models(folder: Path) -> list[Path]:
    """Tiny random models whose matrices have rows of 256 weights and more."""
    from tests.tiny import TinyShape, make_tiny_model

    shape = TinyShape(blocks=3, embedding=256, heads=4, kv_heads=2, feed_forward=512)
    models = [make_tiny_model(folder / "F32.gguf", shape=shape)]
    for name in TYPES:
        models.append(folder / f"{name}.gguf")
        command = [sys.executable, "-m", "edgespec", "quantize", str(models[0]), "--type", name, "--force"]
        subprocess.run(
            [*command, "--output", str(models[-1])],
            check=True,
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
        )
    return models


def build_programs(sources: Path, folder: Path) -> list[tuple[str, Path, str]]:
    """What each processor is called, the program that it runs, and QEMU's name of it; first of all this machine."""
    programs = [("this machine", installed_program(sources, folder), "")]
    targets = [target for target in TARGETS if target.qemu_cpus]
    # It asks nothing of the processor, so that one does for all, and computes nothing: as fast to compile as can be.
    flags = ("-DCMAKE_CXX_FLAGS_RELEASE=-O0", "-DCMAKE_OPTIMIZE_DEPENDENCIES=ON")
    print("building libllama", file=sys.stderr)
    plain = replace(targets[0], name="libllama", flags=targets[0].flags + flags)
    llama = build(plain, sources, folder, ("llama",)) / "src" / "libllama.a"
    for target in targets:
        print(f"building for {target.name}", file=sys.stderr)
        built = build(target, sources, folder, ("ggml-base", "ggml-cpu", "ggml"))
        libraries = [built / "ggml" / "src" / f"libggml{name}.a" for name in ("", "-cpu", "-base")]
        program = compile_program(target, PROGRAM, sources, [llama, *libraries], built)
        programs += [(name_of(target, cpu), program, cpu) for cpu in target.cpus]
    return programs


def installed_program(sources: Path, folder: Path) -> Path:
    """The program, linked with the installed libraries."""
    from edgespec.llama.library import load_library

    libraries = Path(load_library().__file__ or "").parent / "lib"
    program = folder / PROGRAM.stem
    command = ["g++", "-std=c++17", "-O2", str(PROGRAM), "-o", str(program), f"-Wl,-rpath,{libraries}"]
    command += [f"-I{sources / name}" for name in ("include", "ggml/include")]
    run_quietly([*command, *(str(libraries / f"lib{name}.so") for name in LIBRARIES)])
    return program


def compare(model: Path, programs: list[tuple[str, Path, str]]) -> list[str]:
    """Runs a model everywhere and prints the lines of the table; returns what is wrong."""
    faults, first = [], None
    for processor, program, cpu in programs:
        name, answer = f"{model.stem}, {processor}", answer_of(model, program, cpu)
        if answer is None:
            faults.append(f"{name}: a row has other bits in another size of batch, or it failed")
            continue
        first = first or answer
        away = float(np.abs(answer.logits - first.logits).max() / np.abs(first.logits).max())
        text = "the same tokens" if answer.tokens == first.tokens else "other tokens"
        print(f"{name}: {answer.isa or 'ggml'}, {away:.1e} away, {text}, {answer.seconds:.0f} s", flush=True)
        if not away < MOST_DIFFERENCE:
            faults.append(f"{name}: logits are {away:.1e} away")
    return faults


def answer_of(model: Path, program: Path, cpu: str) -> Answer | None:
    """What the program says of a model on a processor; None where it found other bits in other batches."""
    output, began = program.with_suffix(".out"), time.monotonic()
    ran = subprocess.run(
        started(program, cpu, str(model), TEXT, str(N_NEW), str(output)),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        print(ran.stderr, end="", file=sys.stderr)
        return None
    data = output.read_bytes()
    logits = np.frombuffer(data[: -4 * N_NEW], np.float32)
    tokens = np.frombuffer(data[-4 * N_NEW :], np.int32)
    return Answer(ran.stdout.strip(), logits, tuple(map(int, tokens)), time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
