"""Builds the wheel of edgespec-llama, as the PEP 517 backend of the project in this folder.

llama-cpp-python is compiled as `scripts/install_llama.py` has it compiled, but for all processors of this machine's kind: with a
CPU backend for each generation (ggml's GGML_CPU_ALL_VARIANTS), of which llama.cpp takes the best one when it starts. Of what comes
out the wheel has the libraries, each once, and the two Python files that edgespec uses, as they are, in a folder of its own: an
environment may have llama-cpp-python beside it. Such wheels have no code of a certain version of Python, and work with each.

A source distribution there is none: the sources are llama-cpp-python's and edgespec's.
"""

import io
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

FOLDER = Path(__file__).resolve().parent
REPOSITORY = FOLDER.parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

import install_llama  # noqa: E402

PACKAGE = "edgespec_llama"
X86_VARIANTS = ("sse42", "ivybridge", "haswell", "alderlake", "skylakex", "cascadelake", "zen4")
"""Of ggml's: what x86-64-v2 has, then AVX, AVX2, AVX-VNNI, AVX-512, its VNNI, its BF16. The others have nothing that kernels use."""
BINDINGS = ("llama_cpp.py", "_ctypes_extensions.py")
LIBRARIES = {
    "linux": rf"libllama\.so|libggml(-base)?\.so\.\d+|libggml-(rpc|cpu-({'|'.join(X86_VARIANTS)}|armv\d\.\d_\d))\.so",
    "darwin": r"libllama\.dylib|libggml[a-z-]*\.\d+\.dylib",
    "win32": rf"(llama|ggml|ggml-base|ggml-rpc|ggml-cpu-({'|'.join(X86_VARIANTS)}))\.dll",
}
"""Each under the name that it is opened by: llama-cpp-python's wheels have three of each."""


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None
) -> str:
    """Compiles and packs; returns the name of the wheel in `wheel_directory`."""
    with tempfile.TemporaryDirectory() as scratch:
        return pack(compile_bindings(Path(scratch)), Path(wheel_directory))


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    """Part of PEP 517."""
    raise SystemExit("edgespec-llama has no source distribution: build it in a clone of edgespec")


def cmake_args() -> str:
    """Flags of the build, the user's last."""
    flags = ["-DEDGESPEC_WHEEL=ON", "-DGGML_NATIVE=OFF", "-DCMAKE_INSTALL_BINDIR=llama_cpp/lib"]
    if sys.platform != "darwin":  # all Macs of a kind have what the compiler takes for granted there
        flags += ["-DGGML_BACKEND_DL=ON", "-DGGML_CPU_ALL_VARIANTS=ON"]
        if platform.machine().lower() in ("x86_64", "amd64"):
            flags.append(f"-DEDGESPEC_VARIANTS=^({'|'.join(X86_VARIANTS)})$")
    return " ".join([install_llama.base_cmake_args(), shlex.join(flags), os.environ.get("CMAKE_ARGS", "")])


def compile_bindings(scratch: Path) -> Path:
    """llama-cpp-python's wheel. pip's cache is left alone: there a build for all processors would pass for one for this."""
    requirement = f"{install_llama.PACKAGE}=={install_llama.pinned_version()}"
    command = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-cache-dir"]
    command += ["--no-binary", install_llama.PACKAGE, "--wheel-dir", str(scratch), requirement]
    subprocess.run(command, check=True, env={**outer_environment(), "CMAKE_ARGS": cmake_args()})
    return next(scratch.glob("*.whl"))


def outer_environment() -> dict[str, str]:
    """The variables of who runs this build. Those by which pip tells a backend where it lies are not for one within it:
    pip would look for that of llama-cpp-python in this folder, and nowhere else.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("_PYPROJECT_HOOKS_")}


def pack(compiled: Path, folder: Path) -> str:
    """The parts of `compiled` that edgespec needs, as a wheel in `folder`; returns its name."""
    from wheel.wheelfile import WheelFile

    version, tag = edgespec_version(), compiled.stem.split("-", 2)[2]
    name, info = f"{PACKAGE}-{version}-{tag}.whl", f"{PACKAGE}-{version}.dist-info"
    with ZipFile(compiled) as source, WheelFile(folder / name, "w") as wheel:
        for place, member in chosen_members(source).items():
            data = source.read(member)
            if "ggml-cpu-" in place and place.endswith(".so"):
                check_backend(place, data)
            wheel.writestr(f"{PACKAGE}/llama_cpp/{place}", data)
        licenses = {"LICENSE-edgespec": (REPOSITORY / "LICENSE").read_bytes(), **their_licenses(source)}
        for place, text in licenses.items():
            wheel.writestr(f"{info}/licenses/{place}", text)
        wheel.writestr(f"{PACKAGE}/__init__.py", package_text())
        wheel.writestr(f"{info}/METADATA", metadata(version, sorted(licenses)))
        wheel.writestr(f"{info}/WHEEL", wheel_text(tag))
    return name


def chosen_members(source: ZipFile) -> dict[str, str]:
    """What is taken from llama-cpp-python's wheel: its place in the package, and its name there."""
    members = {f"llama_cpp/{name}" for name in BINDINGS}
    pattern = re.compile(f"llama_cpp/lib/({LIBRARIES[sys.platform]})")
    members |= {name for name in source.namelist() if pattern.fullmatch(name)}
    return {name.removeprefix("llama_cpp/"): name for name in sorted(members)}


def check_backend(name: str, data: bytes) -> None:
    """A CPU backend must be harmless for other processors, which open it to ask whether it fits, and for other backends.

    So it has no code of its own that runs when it is opened (the compiler's own entry is the same everywhere), and no variable that the
    system would make one for all libraries of a process (STB_GNU_UNIQUE).
    """
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    library = ELFFile(io.BytesIO(data))
    starts = library.get_section_by_name(".init_array")
    if starts is not None and starts.data_size > library.elfclass // 8:
        raise SystemExit(
            f"edgespec: {name} runs code when it is opened, which ends a process on an older processor"
        )
    symbols = library.get_section_by_name(".dynsym")
    assert isinstance(symbols, SymbolTableSection)
    shared = [one.name for one in symbols.iter_symbols() if one["st_info"]["bind"] == "STB_LOOS"]
    if shared:
        raise SystemExit(f"edgespec: {name} shares variables with other backends, such as {shared[0]}")


def their_licenses(source: ZipFile) -> dict[str, bytes]:
    """llama-cpp-python's and llama.cpp's, which their terms have go with every copy."""
    names = {
        "LICENSE-llama-cpp-python": r".*\.dist-info/licenses/LICENSE\.md",
        "LICENSE-llama.cpp": r"llama_cpp/lib/LICENSE-llama\.cpp",
    }
    found = {
        name: next(member for member in source.namelist() if re.fullmatch(pattern, member))
        for name, pattern in names.items()
    }
    return {name: source.read(member) for name, member in found.items()}


def package_text() -> str:
    """Of the package's `__init__.py`, which nobody runs but to ask what it holds."""
    return (
        '"""llama.cpp with edgespec\'s kernels, and llama-cpp-python\'s bindings; edgespec finds them here."""\n\n'
        f'LLAMA_CPP_PYTHON = "{install_llama.pinned_version()}"\n'
    )


def edgespec_version() -> str:
    """The kernels and the code that calls them are of one version."""
    return str(_project(REPOSITORY)["version"])


def metadata(version: str, licenses: list[str]) -> str:
    """Core metadata 2.4 of the project table."""
    project, message = _project(FOLDER), Message()
    message["Metadata-Version"] = "2.4"
    message["Name"], message["Version"] = project["name"], version
    message["Summary"], message["License-Expression"] = project["description"], project["license"]
    for name in licenses:
        message["License-File"] = name
    message["Requires-Python"] = project["requires-python"]
    for requirement in project["dependencies"]:
        message["Requires-Dist"] = requirement
    message["Description-Content-Type"] = "text/markdown"
    message.set_payload((FOLDER / project["readme"]).read_text(encoding="utf-8"))
    return message.as_string()


def wheel_text(tag: str) -> str:
    """The file WHEEL."""
    return f"Wheel-Version: 1.0\nGenerator: edgespec-llama\nRoot-Is-Purelib: false\nTag: {tag}\n"


def _project(folder: Path) -> dict[str, object]:
    project: dict[str, object] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    return project
