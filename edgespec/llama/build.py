"""What this build of llama.cpp is and has: versions, features, edgespec's own kernels."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgespec.errors import EngineError
from edgespec.llama.bindings import bindings_version
from edgespec.llama.computing import nothing_else_computed
from edgespec.llama.devices import Device, list_devices
from edgespec.llama.library import ggml_function, load_library


@dataclass(frozen=True, slots=True)
class Kernels:
    """edgespec's own kernels for verification in ggml's CPU backend (`native/few_rows.cpp`)."""

    version: str
    """Empty in a build without them."""
    isa: str
    """What they use, `avx512-vnni` or `avx2`; empty where ggml's kernels do all the work."""


@dataclass(frozen=True, slots=True)
class BackendReport:
    """What this build of llama.cpp can do."""

    llama_cpp_python: str
    llama_cpp: str
    """ggml's version and commit, which names the llama.cpp sources."""
    kernels: Kernels
    system_info: str
    supports_gpu_offload: bool
    supports_rpc: bool
    devices: tuple[Device, ...]


def describe_backends() -> BackendReport:
    """Versions, CPU features and devices of the llama.cpp that is loaded.

    Raises:
        EngineError: it cannot be loaded.
    """
    lib = load_library()
    return BackendReport(
        llama_cpp_python=bindings_version(),
        llama_cpp=native_version(),
        kernels=native_kernels(),
        system_info=lib.llama_print_system_info().decode("utf-8", "replace").strip(),
        supports_gpu_offload=bool(lib.llama_supports_gpu_offload()),
        supports_rpc=bool(lib.llama_supports_rpc()),
        devices=list_devices(),
    )


def native_version() -> str:
    """ggml's version and commit, such as `0.25.3 (0c1e570)`.

    Raises:
        EngineError: llama.cpp cannot be loaded, or is older than these functions.
    """
    load_library()
    parts = [ggml_function(name, ctypes.c_char_p)().decode() for name in ("ggml_version", "ggml_commit")]
    return f"{parts[0]} ({parts[1]})"


def native_kernels() -> Kernels:
    """What this build has of edgespec's own kernels; a build without them is not an error.

    Raises:
        EngineError: llama.cpp cannot be loaded.
    """
    load_library()
    try:
        texts = [ggml_function(f"edgespec_kernels_{what}", ctypes.c_char_p)() for what in ("version", "isa")]
    except EngineError:
        return Kernels("", "")
    return Kernels(*(text.decode() for text in texts))


@contextmanager
def ggml_kernels() -> Iterator[None]:
    """While it is entered, ggml's kernels do all the work: figures are those of llama.cpp's tools to the last digit.

    Of models that were opened in it, too: weights of others stay laid out for edgespec's kernels, which multiply them. It is a
    switch of the whole process: contexts of other threads wait.
    """
    if not native_kernels().version:
        yield
        return
    switch = ggml_function("edgespec_kernels_switch", None, ctypes.c_bool)
    with nothing_else_computed():
        try:
            switch(False)
            yield
        finally:
            switch(True)
