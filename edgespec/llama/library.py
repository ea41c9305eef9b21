"""llama.cpp as a library: loaded once, its log routed into `logging`, its functions found by name."""

import ctypes
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from edgespec.errors import EngineError
from edgespec.llama.bindings import import_bindings, load_backends, open_libraries

native_log = logging.getLogger("edgespec.llama.native")
"""What llama.cpp says; never printed unless somebody asks for it."""

# ggml_log_level in ggml.h.
# llama.cpp informs at great length and warns about much that concerns only its developers: one level down each.
_LOG_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.INFO, 4: logging.ERROR}
_LOG_CONTINUES = 5

_OF_DEVICES: Final = {
    r"libcuda\.|nvcuda": "NVIDIA's driver",
    r"libcudart|libcublas|cudart64|cublas(Lt)?64": "the libraries of the CUDA toolkit",
    r"libvulkan|vulkan-1\.dll": "the Vulkan loader",
    r"libamdhip64|lib(hip|roc)blas|libhsa-runtime64": "the libraries of AMD's ROCm",
    r"libsycl|libze_loader|libmkl": "the libraries of Intel's oneAPI",
}
"""What a build for an accelerator is linked with, by a pattern for the names of its files."""

_kept_callbacks: list[Any] = []
_loading = threading.Lock()


class _Heard(threading.local):
    """What llama.cpp said in a thread: it logs where it was called."""

    def __init__(self) -> None:
        self.recent_errors: deque[str] = deque(maxlen=8)
        self.listeners: list[Callable[[str], None]] = []
        self.level = logging.DEBUG
        """Of the line that goes on."""


_heard = _Heard()


def load_library() -> ModuleType:
    """Imports llama_cpp's low-level API once, with the log routed and the backends initialised.

    Raises:
        EngineError: llama-cpp-python is not installed or its shared library does not load.
    """
    with _loading:
        return _load_once()


@cache
def _load_once() -> ModuleType:
    # A process that llama.cpp ends is to end: its backtrace starts a debugger, and hangs where two threads fail at once.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    try:
        lib: Any = import_bindings()
    except (ImportError, OSError, RuntimeError, FileNotFoundError) as err:
        raise EngineError(
            f"llama-cpp-python cannot be loaded: {err}",
            _way_to_load(str(err)),
        ) from err
    _route_log(lib)
    load_backends(Path(lib.__file__).parent / "lib")
    _choose_matmul(lib.llama_print_system_info().decode("utf-8", "replace"))
    lib.llama_backend_init()
    module: ModuleType = lib
    return module


def _way_to_load(reason: str) -> str:
    """What to do where llama.cpp cannot be loaded.

    Args:
        reason: What the system's loader said.
    """
    for pattern, what in _OF_DEVICES.items():
        if re.search(pattern, reason):
            return (
                f"this llama.cpp was built for a GPU and needs {what}: install that, or build for the CPU with `make install` "
                "and no CMAKE_ARGS"
            )
    return "run `make install`, or `pip install --force-reinstall llama-cpp-python`"


class ClosedLibrary:
    """Takes the library's place in what has been freed: an error instead of a pointer to freed memory.

    Args:
        owner: What was freed, for the message.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def __getattr__(self, _function: str) -> Any:
        raise EngineError(f"{self._owner} is closed", "open it again")


def take_native_errors() -> str:
    """The error lines that llama.cpp logged in this thread since the last call, the last eight, joined by `; `; empty without any."""
    text = "; ".join(_heard.recent_errors)
    _heard.recent_errors.clear()
    return text


@contextmanager
def native_lines(listener: Callable[[str], None]) -> Iterator[None]:
    """Hands every line that llama.cpp logs in this thread to `listener`, which must not raise, for as long as the block runs."""
    listeners = _heard.listeners
    listeners.append(listener)
    try:
        yield
    finally:
        listeners.remove(listener)


def default_threads() -> int:
    """Threads for decoding: the cores that llama.cpp's own tools would take (`common_cpu_get_num_math`).

    These are the physical ones, no more than this process may run on.
    """
    import psutil

    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        physical = min(physical, len(os.sched_getaffinity(0)))
    return max(1, physical)


@cache
def _ggml_libraries() -> tuple[ctypes.CDLL, ...]:
    return open_libraries(Path(load_library().__file__ or "").parent / "lib")


@cache
def ggml_function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A function of libggml that llama_cpp does not bind; looked up once for each signature.

    Args:
        name: As in ggml's headers, such as `ggml_row_size`.
        result: Its ctypes type; None for a function that returns nothing.
        arguments: Their ctypes types.

    Raises:
        EngineError: this build has no function of that name, or llama.cpp cannot be loaded.
    """
    for library in _ggml_libraries():
        try:
            function: Callable[..., Any] = getattr(library, name)
        except AttributeError:
            continue
        function.restype = result  # type: ignore[attr-defined]
        function.argtypes = list(arguments)  # type: ignore[attr-defined]
        return function
    raise EngineError(
        f"this build of llama.cpp lacks {name}",
        "run `make install`, or reinstall edgespec with its dependencies",
    )


def _choose_matmul(system_info: str) -> None:
    """Switches ggml's tiled matrix multiplication off where it slows small batches down, unless the user chose.

    It takes over K-quant matrices from 8 rows on, in tiles of 16. Without AVX-512 VNNI a decode of 8 rows of
    Qwen2.5-Coder 1.5B Q4_K_M cost 6.3 to 8.1 single rows with it and 4.6 to 5.5 without, at equal prefill
    (2 cores of Zen 3; ggml-cpu/tiled/tiled.cpp reads the variable once, at the first multiplication).
    """
    if "AVX2 = 1" in system_info and "AVX512_VNNI = 1" not in system_info:
        os.environ.setdefault("GGML_CPU_TILED_MM", "0")


def _route_log(lib: ModuleType) -> None:
    def receive(level: int, text: bytes, _user_data: Any) -> None:
        if level != _LOG_CONTINUES:
            _heard.level = _LOG_LEVELS.get(level, logging.DEBUG)
        line = text.decode("utf-8", "replace").strip()
        if not line or line == ".":
            return
        for listener in _heard.listeners:
            listener(line)
        if _heard.level >= logging.ERROR:
            _heard.recent_errors.append(line)
        native_log.log(_heard.level, line)

    callback = lib.llama_log_callback(receive)
    _kept_callbacks.append(callback)
    lib.llama_log_set(callback, ctypes.c_void_p(0))
    if not native_log.handlers:
        native_log.addHandler(logging.NullHandler())
