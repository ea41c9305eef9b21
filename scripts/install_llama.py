"""Installs llama-cpp-python into the environment of the Python that runs this, compiled for this machine.

    python scripts/install_llama.py [--rebuild | --print-cmake-args | --print-version]

Needs nothing but the standard library and pip. The version is the lower bound in pyproject.toml. What edgespec does
not use is left out of the build (multimodal library, llama.cpp's tools), which makes it about a third as long.
Environment: CMAKE_ARGS is added to edgespec's own flags and wins over them, for instance -DGGML_CUDA=on;
CMAKE_BUILD_PARALLEL_LEVEL says how many compilers run side by side; unless it is set, as many as the processor has cores and
memory has room for. The whole log is kept beside the environment's packages.

pip keeps built wheels, and its cache does not look at CMAKE_ARGS. So the cache is used only for edgespec's own flags;
other flags, or flags that changed since, force a build, and so does a wheel that was built without them: one that uses
AMX (scripts/llama-build.cmake says why not) or has other kernels. The stamp file says which flags the installed one has.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # run by its path, this file knows only its own folder

from scripts.gpu_toolkits import what_is_missing  # noqa: E402

PACKAGE = "llama-cpp-python"
STAMP = Path(sys.prefix) / "edgespec-llama.json"
LOG = Path(sys.prefix) / "edgespec-llama-build.log"

COMPILER_BYTES = 512 << 20
"""What a compiler takes at most, of llama.cpp's files and edgespec's: 408 MiB were measured (GCC 12, x86)."""

_STEP = re.compile(r"\[\s*(\d+)/(\d+)\]")
_PERCENT = re.compile(r"\[\s*(\d+)%\]")
_LINE_EVERY_S = 30.0
_TAIL_LINES = 40


@dataclass(frozen=True)
class Build:
    """What is asked for, and what the stamp remembers."""

    version: str
    base_args: str
    user_args: str

    @property
    def cmake_args(self) -> str:
        """What CMake gets; a later definition wins over an earlier one."""
        return f"{self.base_args} {self.user_args}".strip()


def main() -> int:
    """Installs if need be. Returns 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rebuild", action="store_true", help="build even if a fitting one is installed")
    parser.add_argument(
        "--print-cmake-args", action="store_true", help="only print the flags, for other installers"
    )
    parser.add_argument("--print-version", action="store_true", help="only print the version that is built")
    arguments = parser.parse_args()
    rebuild: bool = arguments.rebuild
    wanted = Build(pinned_version(), base_cmake_args(), " ".join(os.environ.get("CMAKE_ARGS", "").split()))
    if arguments.print_version:
        print(wanted.version)
        return 0
    if arguments.print_cmake_args:
        print(wanted.cmake_args)
        return 0
    stamped = read_stamp(STAMP)
    if not rebuild and is_installed(wanted, stamped):
        write_stamp(STAMP, stamped or wanted)
        return 0
    missing = what_is_missing(wanted.cmake_args, os.environ)
    if missing:
        tell(f"{PACKAGE} was not built: {missing}")
        return 1
    use_cache = may_use_cache(wanted, stamped, rebuild=rebuild)
    tell(
        f"installing {PACKAGE} {wanted.version}; unless pip has it built already, the compile takes 3 minutes or more"
    )
    if not install(wanted, use_cache=use_cache):
        return 1
    if use_cache and not (works_well() and has_kernels()):
        tell("the wheel in pip's cache has other flags; building anew")
        # Should that fail, the next call must not take the wheel for one that somebody chose.
        write_stamp(STAMP, replace(wanted, base_args="those of a wheel in pip's cache"))
        if not install(wanted, use_cache=False):
            return 1
    write_stamp(STAMP, wanted)
    return 0


def pinned_version() -> str:
    """The lower bound of the dependency in pyproject.toml: the version that is built and tested."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["dependencies"]:
        match = re.match(rf"{PACKAGE}\s*>=\s*([\w.]+)", requirement)
        if match:
            return match[1]
    raise SystemExit(f"edgespec: pyproject.toml has no lower bound for {PACKAGE}")


def base_cmake_args() -> str:
    """Flags of every build: no multimodal library or tools, no AMX, edgespec's kernels, other machines through RPC."""
    include = REPOSITORY / "scripts" / "llama-build.cmake"
    flags = [
        "-DLLAVA_BUILD=OFF",
        "-DGGML_RPC=ON",
        "-DEDGESPEC_AMX=OFF",
        f"-DEDGESPEC_KERNELS={kernels_version()}",
        f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={include.as_posix()}",
    ]
    return shlex.join(flags)


def kernels_version() -> str:
    """Of edgespec's own kernels: changed sources are another version, and so another build."""
    content = hashlib.sha256()
    for source in sorted((REPOSITORY / "edgespec" / "llama" / "native").iterdir()):
        content.update(source.read_bytes())
    return content.hexdigest()[:12]


def read_stamp(path: Path) -> Build | None:
    """What was installed by this script, or None."""
    try:
        return Build(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_stamp(path: Path, build: Build) -> None:
    """Remembers what is installed."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(asdict(build), indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def is_installed(wanted: Build, stamped: Build | None) -> bool:
    """Whether the environment already has what is wanted.

    Without CMAKE_ARGS, a build that somebody made with flags of their own, or a prebuilt wheel, is kept.
    """
    if not has_fitting_version(wanted.version):
        return False
    if stamped is None:
        return not wanted.user_args and works_well()
    if not wanted.user_args and stamped.user_args:
        return True
    return stamped == wanted


def has_fitting_version(version: str) -> bool:
    """Whether a release of at least this version, of the same minor series, is installed."""
    try:
        found = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return False
    numbers, wanted = (tuple(int(n) for n in re.findall(r"\d+", text)[:3]) for text in (found, version))
    return numbers >= wanted and numbers[:2] == wanted[:2]


def works_well() -> bool:
    """Whether its shared library loads on this machine and leaves AMX alone."""
    system_info = ask("from llama_cpp import llama_cpp; print(llama_cpp.llama_print_system_info().decode())")
    return bool(system_info) and "AMX_INT8 = 1" not in system_info


def has_kernels() -> bool:
    """Whether it was built with these very kernels."""
    return (
        ask("from edgespec.llama.build import native_kernels as find; print(find().version)")
        == kernels_version()
    )


def ask(code: str) -> str:
    """What Python code prints in a process of its own, which a broken library may end; empty when it fails."""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    return ran.stdout.strip() if ran.returncode == 0 else ""


def may_use_cache(wanted: Build, stamped: Build | None, *, rebuild: bool) -> bool:
    """Whether a wheel from pip's cache, whose flags nobody knows, will do."""
    flags_changed = stamped is not None and stamped.version == wanted.version and stamped != wanted
    return not (rebuild or wanted.user_args or flags_changed)


def install(build: Build, *, use_cache: bool) -> bool:
    """Runs pip, shows how far the compiler is, and says what is likely missing when it fails."""
    command = [sys.executable, "-m", "pip", "install", "-v", f"{PACKAGE}=={build.version}"]
    command += ["--constraint", str(REPOSITORY / "constraints.txt")]
    if not use_cache:
        command += ["--no-cache-dir", "--force-reinstall", "--no-deps", "--no-binary", PACKAGE]
    environment = {**os.environ, "CMAKE_ARGS": build.cmake_args, "PYTHONUNBUFFERED": "1"}
    if side_by_side := fewer_compilers(free_memory_bytes(), os.cpu_count() or 1):
        environment.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(side_by_side))
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    started = time.monotonic()
    with (
        LOG.open("w", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        show_progress(keep_lines(process.stdout, log, tail), started)
    if process.returncode != 0:
        explain_failure(list(tail))
        return False
    tell(f"{PACKAGE} {build.version} is installed ({time.monotonic() - started:.0f} s)")
    return True


def fewer_compilers(free_bytes: int | None, cores: int) -> int | None:
    """How many compilers may run side by side where memory has no room for Ninja's choice; else None.

    Args:
        free_bytes: Memory that is free; None where nobody knows.
        cores: Of the processor: Ninja starts up to two compilers more.
    """
    if free_bytes is None or free_bytes >= (cores + 2) * COMPILER_BYTES:
        return None
    return max(1, min(cores, free_bytes // COMPILER_BYTES))


def free_memory_bytes() -> int | None:
    """Memory for compilers, as Linux tells it without another package: the system's, or less in a container."""
    sys.path.insert(0, str(REPOSITORY))
    from edgespec.control_groups import headroom_bytes

    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    headroom = headroom_bytes()
    return min([*free, *([] if headroom is None else [headroom])], default=None)


def keep_lines(lines: IO[str], log: IO[str], tail: deque[str]) -> Iterator[str]:
    """Passes lines on, with the whole of them in the log and the last ones in `tail`."""
    for line in lines:
        log.write(line)
        tail.append(line.rstrip())
        yield line


def show_progress(lines: Iterator[str], started: float) -> None:
    """One line that is updated on a terminal, a line now and then elsewhere."""
    on_terminal = sys.stderr.isatty()
    first_step_at: float | None = None
    last_shown = started
    for line in lines:
        done, total = parse_step(line)
        if not total:
            continue
        now = time.monotonic()
        first_step_at = first_step_at or now
        text = describe_step(done, total, now - first_step_at)
        if on_terminal:
            print(f"\r\033[Kedgespec: {text}", end="", file=sys.stderr, flush=True)
        elif now - last_shown >= _LINE_EVERY_S:
            tell(text)
            last_shown = now
    if on_terminal and first_step_at is not None:
        print(file=sys.stderr)


def parse_step(line: str) -> tuple[int, int]:
    """(done, total) of a line of ninja ("[12/87] Building ...") or make ("[ 12%] Building ..."), else (0, 0)."""
    step = _STEP.search(line)
    if step:
        return int(step[1]), int(step[2])
    percent = _PERCENT.search(line)
    return (int(percent[1]), 100) if percent else (0, 0)


def describe_step(done: int, total: int, elapsed_s: float) -> str:
    """How far the compile is, and how long it may still take."""
    text = f"compiling llama.cpp, step {done} of {total}"
    if done < 2 or elapsed_s <= 0:
        return text
    left_s = elapsed_s / done * (total - done)
    return f"{text}, about {int(left_s // 60)}:{int(left_s % 60):02d} left"


def explain_failure(tail: list[str]) -> None:
    """The end of the log, then one sentence on what is likely missing."""
    print("\n".join(tail), file=sys.stderr)
    tell(f"{PACKAGE} could not be installed. {likely_cause(chr(10).join(tail))} The whole log: {LOG}")


def likely_cause(text: str) -> str:
    """What to do about a failed build, from the end of its log."""
    if re.search(r"nvcc|CUDAToolkit|CUDA_COMPILER", text):
        return "The CUDA toolkit is incomplete or does not suit the compiler: its words are above. Or leave -DGGML_CUDA=on out."
    if re.search(r"Could NOT find Vulkan|SPIRV-Headers|glslc", text):
        return "The Vulkan SDK is incomplete: CMake's words are above. Or leave -DGGML_VULKAN=on out."
    if re.search(r"No matching distribution|Could not fetch|ConnectionError|Temporary failure", text):
        return "pip could not reach its package index: check the network and pip's settings."
    if re.search(r"No space left", text):
        return "The disk is full: the build needs about 1 GiB."
    if re.search(r"Killed|out of memory|bad_alloc", text):
        return "Memory ran out: try CMAKE_BUILD_PARALLEL_LEVEL=1."
    has_compiler = any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
    if not has_compiler or "CMAKE_CXX_COMPILER" in text or "CMAKE_C_COMPILER" in text:
        return "A C and C++ compiler is missing: apt install build-essential, dnf install gcc-c++, xcode-select --install."
    return "The compiler's message is above."


def tell(text: str) -> None:
    """One line on stderr."""
    print(f"edgespec: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        tell("interrupted")
        sys.exit(130)
