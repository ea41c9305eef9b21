"""Where llama.cpp and its bindings come from: llama-cpp-python, or edgespec-llama, the wheel that stands in for it.

Both have the same Python files and libraries. llama-cpp-python is compiled where it is installed, and so for the machine;
edgespec-llama needs no compiler, keeps the package in a folder of its own, and has backends for several kinds of processors,
of which llama.cpp takes the best when it starts.
"""

import ctypes
import os
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from edgespec.errors import EngineError

COMPANION = "edgespec_llama"
_PREFIX, _SUFFIX = ("", ".dll") if sys.platform == "win32" else ("lib", ".so")


def import_bindings() -> ModuleType:
    """llama_cpp's declarations without what its `__init__` imports for its own engine: 9 MB, and time at every start.

    The package is forgotten again, so that a program that imports llama_cpp itself gets a whole one.

    Raises:
        ImportError: neither package is there.
    """
    if "llama_cpp" in sys.modules:
        return import_module("llama_cpp.llama_cpp")
    sys.modules["llama_cpp"] = module_from_spec(_find_package())
    try:
        return import_module("llama_cpp.llama_cpp")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "llama_cpp"]:
            del sys.modules[name]


def _find_package() -> ModuleSpec:
    """What is installed under its own name comes first: somebody had it compiled for this machine."""
    spec = find_spec("llama_cpp")
    companion = find_spec(COMPANION) if spec is None else None
    if companion is not None and companion.submodule_search_locations:
        folder = Path(companion.submodule_search_locations[0]) / "llama_cpp"
        spec = spec_from_file_location(
            "llama_cpp", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
    if spec is None:
        raise ImportError("No module named 'llama_cpp'")
    return spec


def bindings_version() -> str:
    """Of llama-cpp-python, such as `0.3.99`; in edgespec-llama with its own: `0.3.99 (edgespec-llama 0.1.0)`."""
    from importlib.metadata import PackageNotFoundError, version  # brings the whole of `email` with it

    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:
        companion: Any = import_module(COMPANION)
        return f"{companion.LLAMA_CPP_PYTHON} (edgespec-llama {version('edgespec-llama')})"


def load_backends(folder: Path) -> None:
    """Has llama.cpp load the best CPU backend of those in `folder`; nothing to do where it is part of the library.

    Args:
        folder: Of llama.cpp's libraries.

    Raises:
        EngineError: none of them runs on this processor.
    """
    if not any(folder.glob(f"{_PREFIX}ggml-cpu-*{_SUFFIX}")):
        return
    load = _linked_libraries(folder)[0].ggml_backend_load_all_from_path
    load.restype, load.argtypes = None, [ctypes.c_char_p]
    load(os.fsencode(folder))
    if not _loaded_backends(folder, "cpu-*"):
        raise EngineError(
            "edgespec-llama has nothing for this processor",
            "build llama.cpp for it: `make install` in a clone",
        )


def open_libraries(folder: Path) -> tuple[ctypes.CDLL, ...]:
    """Those in which ggml's functions are found: what libllama uses already, and the backends that are loaded.

    Args:
        folder: Of llama.cpp's libraries, which are loaded.
    """
    return (
        *_linked_libraries(folder),
        *_loaded_backends(folder, "cpu-*"),
        *_loaded_backends(folder, "rpc"),
    )


def _linked_libraries(folder: Path) -> tuple[ctypes.CDLL, ...]:
    """Through libllama, which is loaded already, and the very libraries that it uses.

    Wheels hold each library under three names, as copies and no links: opened by another name than libllama's, ggml
    would be there twice, with two lists of devices.
    """
    if sys.platform == "win32":  # names are single there, and a library's functions are only its own
        paths = [folder / f"{name}.dll" for name in ("ggml", "ggml-base", "ggml-cpu", "ggml-rpc")]
        return tuple(ctypes.CDLL(str(path)) for path in paths if path.exists())
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    return (ctypes.CDLL(str(folder / f"libllama{suffix}")),)


def _loaded_backends(folder: Path, name: str) -> list[ctypes.CDLL]:
    """Of the backends in `folder` with a name like this those that are loaded; to load one that is not might end the process."""
    opened = []
    for path in sorted(folder.glob(f"{_PREFIX}ggml-{name}{_SUFFIX}")):
        if sys.platform == "win32":
            find = ctypes.WinDLL("kernel32").GetModuleHandleW
            find.restype, find.argtypes = ctypes.c_void_p, [ctypes.c_wchar_p]
            handle = find(str(path))
            if handle:
                opened.append(ctypes.CDLL(str(path), handle=handle))
            continue
        try:
            opened.append(ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD))
        except OSError:
            continue
    return opened
