"""Writes a tiny random model of every architecture that llama.cpp's own `test-llama-archs` can make, and woken copies.

    python scripts/build_test_archs.py FOLDER [--sdist llama_cpp_python-*.tar.gz] [--arch REGEX] [--seed N]

FOLDER/models gets the files as llama.cpp's test writes them: 128 of them, 1 GB in all. Nearly every scale and norm in
them is drawn around 0, so that no token of the context moves the logits by more than a rounding error and a test of
what a memory holds passes whatever it holds. FOLDER/woken gets copies with scales of 1 and norms of 1 + w, which feel
every token.

The test is compiled from the sources of the llama-cpp-python that pyproject.toml names, and linked with the library
that is installed, so that the files are those of the very build that edgespec runs. Needs a C++17 compiler on Linux or
macOS; compiling takes about half a minute. Not part of CI.
"""

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import gguf
from install_llama import PACKAGE, REPOSITORY, pinned_version

SOURCES = ("tests/test-llama-archs.cpp", "common/common.cpp", "common/log.cpp", "common/json.cpp")
"""Of the test, and what it uses of llama.cpp's tools; the linker drops the rest of these."""
INCLUDES = ("include", "ggml/include", "common", "src", "vendor")
LIBRARIES = ("libllama", "libggml", "libggml-base", "libggml-cpu")
SEED = 20260
_SCALE = re.compile(r"scales?(\.weight)?$")
_ROPE_FACTOR = re.compile(r"^rope_(freqs|factors)")
_NORM = re.compile(r"norm(_\w+)?(\.weight)?$")


def main() -> int:
    """Builds and writes. Returns 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the models go, and what is built")
    parser.add_argument("--sdist", type=Path, help="the source archive; fetched with pip unless given")
    parser.add_argument("--arch", default="", help="only architectures that this regular expression finds")
    parser.add_argument("--seed", type=int, default=SEED, help="of the weights")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    installed = importlib.metadata.version(PACKAGE)
    if installed != pinned_version():
        return fail(f"{PACKAGE} {installed} is installed, and the sources are of {pinned_version()}")
    try:
        program = build(unpack(arguments.sdist or fetch_sdist(folder), folder), folder)
        models = write_models(program, folder / "models", arguments.arch, arguments.seed)
    except (OSError, subprocess.CalledProcessError) as err:
        return fail(f"{err}\n{getattr(err, 'stderr', '') or ''}".strip())
    for model in models:
        wake(model, folder / "woken" / model.name)
    print(f"{len(models)} models in {folder / 'models'}, woken ones in {folder / 'woken'}", file=sys.stderr)
    return 0


def fetch_sdist(folder: Path) -> Path:
    """The source archive of the pinned version, from the package index that pip is set to."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", PACKAGE]
    command += ["--constraint", str(REPOSITORY / "constraints.txt"), "--dest", str(folder)]
    subprocess.run([*command, f"{PACKAGE}=={pinned_version()}"], check=True, stdout=sys.stderr)
    return next(folder.glob(f"llama_cpp_python-{pinned_version()}.tar.gz"))


def unpack(sdist: Path, folder: Path) -> Path:
    """llama.cpp's sources, unpacked once."""
    root = folder / sdist.name.removesuffix(".tar.gz")
    if not root.is_dir():
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
    return root / "vendor" / "llama.cpp"


def build(sources: Path, folder: Path) -> Path:
    """Compiles the test and links it with the installed library; returns the program."""
    spec = find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise OSError(f"{PACKAGE} is not installed")
    libraries = Path(spec.origin).parent / "lib"
    objects = folder / "objects"
    objects.mkdir(exist_ok=True)
    compiler = os.environ.get("CXX", "c++")
    flags = ["-std=c++17", "-O1", "-ffunction-sections", "-fdata-sections"]
    flags += [f"-I{sources / include}" for include in INCLUDES]
    built = []
    for source in SOURCES:
        target = objects / f"{Path(source).stem}.o"
        if not target.exists():
            print(f"compiling {source}", file=sys.stderr)
            compile_one(compiler, flags, sources / source, target)
        built.append(str(target))
    suffix, drop = (".dylib", "-Wl,-dead_strip") if sys.platform == "darwin" else (".so", "-Wl,--gc-sections")
    program = folder / "test-llama-archs"
    linked = [str(libraries / f"{name}{suffix}") for name in LIBRARIES]
    run_quietly([compiler, "-o", str(program), *built, *linked, f"-Wl,-rpath,{libraries}", drop, "-lpthread"])
    return program


def compile_one(compiler: str, flags: list[str], source: Path, target: Path) -> None:
    """Compiles a file; what is half written never has the target's name."""
    temporary = target.with_suffix(".new.o")
    run_quietly([compiler, *flags, "-c", str(source), "-o", str(temporary)])
    temporary.replace(target)


def run_quietly(command: list[str]) -> None:
    """Runs a command; its messages come with the error."""
    subprocess.run(command, check=True, capture_output=True, text=True)


def write_models(program: Path, folder: Path, architectures: str, seed: int) -> list[Path]:
    """Runs the test in its saving mode; returns the files."""
    folder.mkdir(exist_ok=True)
    command = [str(program), "-o", str(folder), "-s", str(seed)]
    if architectures:
        command += ["-a", architectures]
    run_quietly(command)
    return sorted(folder.glob("*.gguf"))


def wake(source: Path, target: Path) -> None:
    """A copy with scales and rotary factors of 1, and with 1 added to norms."""
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, target)
    for tensor in gguf.GGUFReader(target, "r+").tensors:
        if _SCALE.search(tensor.name) or _ROPE_FACTOR.search(tensor.name):
            tensor.data[...] = 1
        elif _NORM.search(tensor.name):
            tensor.data[...] += 1
    # Written back to the file as the reader's map of it is dropped.


def fail(reason: str) -> int:
    """One line on stderr, and the exit code."""
    print(f"edgespec: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
