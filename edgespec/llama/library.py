"""llama.cpp as a library: loaded once, its log routed into `logging`, its devices listed."""

import ctypes
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from edgespec.errors import EngineError

native_log = logging.getLogger("edgespec.llama.native")
"""What llama.cpp says; never printed unless somebody asks for it."""

DeviceKind = Literal["cpu", "gpu", "igpu", "accel"]

# ggml_log_level and ggml_backend_dev_type in ggml.h and ggml-backend.h.
# llama.cpp informs at great length and warns about much that concerns only its developers: one level down each.
_LOG_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.INFO, 4: logging.ERROR}
_LOG_CONTINUES = 5
_DEVICE_KINDS: dict[int, DeviceKind] = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}

_recent_errors: deque[str] = deque(maxlen=8)
_kept_callbacks: list[Any] = []
_listeners: list[Callable[[str], None]] = []


@dataclass(frozen=True, slots=True)
class Device:
    """A device as llama.cpp reports it."""

    name: str
    description: str
    kind: DeviceKind
    memory_free_bytes: int
    memory_total_bytes: int

    @property
    def is_remote(self) -> bool:
        """Whether it belongs to an RPC server; ggml-rpc.cpp names its devices RPC0, RPC1 and so on."""
        return self.name.startswith("RPC")


@dataclass(frozen=True, slots=True)
class Kernels:
    """edgespec's own kernels for verification in ggml's CPU backend (`native/narrow.cpp`)."""

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


@cache
def load_library() -> ModuleType:
    """Imports llama_cpp's low-level API once, with the log routed and the backends initialised.

    Raises:
        EngineError: llama-cpp-python is not installed or its shared library does not load.
    """
    try:
        lib: Any = _import_bindings()
    except (ImportError, OSError, RuntimeError, FileNotFoundError) as err:
        raise EngineError(
            f"llama-cpp-python cannot be loaded: {err}",
            "run `make install`, or `pip install --force-reinstall llama-cpp-python`",
        ) from err
    _route_log(lib)
    _choose_matmul(lib.llama_print_system_info().decode("utf-8", "replace"))
    lib.llama_backend_init()
    module: ModuleType = lib
    return module


def _import_bindings() -> ModuleType:
    """llama_cpp's declarations without what its `__init__` imports for its own engine: 9 MB, and time at every start.

    The package is forgotten again, so that a program that imports llama_cpp itself gets a whole one.
    """
    if "llama_cpp" in sys.modules:
        return import_module("llama_cpp.llama_cpp")
    spec = find_spec("llama_cpp")
    if spec is None:
        raise ImportError("No module named 'llama_cpp'")
    sys.modules["llama_cpp"] = module_from_spec(spec)
    try:
        return import_module("llama_cpp.llama_cpp")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "llama_cpp"]:
            del sys.modules[name]


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
    """The error lines that llama.cpp logged since the last call, joined; empty when there were none."""
    text = "; ".join(_recent_errors)
    _recent_errors.clear()
    return text


@contextmanager
def native_lines(listener: Callable[[str], None]) -> Iterator[None]:
    """Hands every line of llama.cpp's log to `listener`, which must not raise, for as long as the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def default_threads() -> int:
    """Threads for decoding: the cores that llama.cpp's own tools would take (physical ones, within affinity)."""
    import psutil

    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        physical = min(physical, len(os.sched_getaffinity(0)))
    return max(1, physical)


def describe_backends() -> BackendReport:
    """Versions, CPU features and devices of the llama.cpp that is loaded."""
    from importlib.metadata import version  # brings the whole of `email` with it

    lib = load_library()
    return BackendReport(
        llama_cpp_python=version("llama-cpp-python"),
        llama_cpp=native_version(),
        kernels=native_kernels(),
        system_info=lib.llama_print_system_info().decode("utf-8", "replace").strip(),
        supports_gpu_offload=bool(lib.llama_supports_gpu_offload()),
        supports_rpc=bool(lib.llama_supports_rpc()),
        devices=list_devices(),
    )


def native_version() -> str:
    """ggml's version and commit, such as `0.25.3 (0c1e570)`."""
    load_library()
    parts = [ggml_function(name, ctypes.c_char_p)().decode() for name in ("ggml_version", "ggml_commit")]
    return f"{parts[0]} ({parts[1]})"


def native_kernels() -> Kernels:
    """What this build has of edgespec's own kernels."""
    load_library()
    try:
        texts = [ggml_function(f"edgespec_kernels_{what}", ctypes.c_char_p)() for what in ("version", "isa")]
    except EngineError:
        return Kernels("", "")
    return Kernels(*(text.decode() for text in texts))


@contextmanager
def ggml_kernels() -> Iterator[None]:
    """While it is entered, ggml's kernels do all the work: figures are those of llama.cpp's tools to the last digit."""
    if not native_kernels().version:
        yield
        return
    switch = ggml_function("edgespec_kernels_switch", None, ctypes.c_bool)
    switch(False)
    try:
        yield
    finally:
        switch(True)


def list_devices() -> tuple[Device, ...]:
    """All devices in llama.cpp's own order."""
    return tuple(_describe_device(handle) for handle in _device_handles())


def device_handle(name: str) -> int:
    """The `ggml_backend_dev_t` of the device called `name`, as an address.

    Raises:
        EngineError: no device has that name; the message lists those there are.
    """
    handles = _device_handles()
    for handle in handles:
        if _describe_device(handle).name.lower() == name.lower():
            return handle
    names = ", ".join(device.name for device in list_devices())
    raise EngineError(f"there is no device {name!r}", f"this build of llama.cpp has: {names}")


def _device_handles() -> tuple[int, ...]:
    load_library()
    count = ggml_function("ggml_backend_dev_count", ctypes.c_size_t)()
    get = ggml_function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    return tuple(get(index) for index in range(count))


def _describe_device(handle: int) -> Device:
    text = {
        what: ggml_function(f"ggml_backend_dev_{what}", ctypes.c_char_p, ctypes.c_void_p)(handle) or b""
        for what in ("name", "description")
    }
    kind = ggml_function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)(handle)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    size_pointer = ctypes.POINTER(ctypes.c_size_t)
    read_memory = ggml_function("ggml_backend_dev_memory", None, ctypes.c_void_p, size_pointer, size_pointer)
    read_memory(handle, ctypes.byref(free), ctypes.byref(total))
    return Device(
        name=text["name"].decode("utf-8", "replace"),
        description=text["description"].decode("utf-8", "replace"),
        kind=_DEVICE_KINDS.get(kind, "accel"),
        memory_free_bytes=free.value,
        memory_total_bytes=total.value,
    )


@cache
def _ggml_libraries() -> tuple[ctypes.CDLL, ...]:
    """Where ggml's functions are found: through libllama, which is loaded already, in the very libraries that it uses.

    Wheels hold each library under three names, as copies and no links: opened by another name than libllama's, ggml
    would be there twice, with two lists of devices.
    """
    folder = Path(load_library().__file__ or "").parent / "lib"
    if sys.platform == "win32":  # names are single there, and a library's functions are only its own
        paths = [folder / f"{name}.dll" for name in ("ggml", "ggml-base", "ggml-cpu", "ggml-rpc")]
        return tuple(ctypes.CDLL(str(path)) for path in paths if path.exists())
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    return (ctypes.CDLL(str(folder / f"libllama{suffix}")),)


@cache
def ggml_function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A function of libggml that llama_cpp does not bind."""
    for library in _ggml_libraries():
        try:
            function: Callable[..., Any] = getattr(library, name)
        except AttributeError:
            continue
        function.restype = result  # type: ignore[attr-defined]
        function.argtypes = list(arguments)  # type: ignore[attr-defined]
        return function
    raise EngineError(f"this build of llama.cpp lacks {name}", "install llama-cpp-python 0.3.36 or newer")


def _choose_matmul(system_info: str) -> None:
    """Switches ggml's tiled matrix multiplication off where it slows small batches down, unless the user chose.

    It takes over K-quant matrices from 8 rows on, in tiles of 16. Without AVX-512 VNNI a decode of 8 rows of
    Qwen2.5-Coder 1.5B Q4_K_M cost 6.3 to 8.1 single rows with it and 4.6 to 5.5 without, at equal prefill
    (2 cores of Zen 3; ggml-cpu/tiled/tiled.cpp reads the variable once, at the first multiplication).
    """
    if "AVX2 = 1" in system_info and "AVX512_VNNI = 1" not in system_info:
        os.environ.setdefault("GGML_CPU_TILED_MM", "0")


def _route_log(lib: ModuleType) -> None:
    level_now = logging.DEBUG

    def receive(level: int, text: bytes, _user_data: Any) -> None:
        nonlocal level_now
        if level != _LOG_CONTINUES:
            level_now = _LOG_LEVELS.get(level, logging.DEBUG)
        line = text.decode("utf-8", "replace").strip()
        if not line or line == ".":
            return
        for listener in _listeners:
            listener(line)
        if level_now >= logging.ERROR:
            _recent_errors.append(line)
        native_log.log(level_now, line)

    callback = lib.llama_log_callback(receive)
    _kept_callbacks.append(callback)
    lib.llama_log_set(callback, ctypes.c_void_p(0))
    if not native_log.handlers:
        native_log.addHandler(logging.NullHandler())
