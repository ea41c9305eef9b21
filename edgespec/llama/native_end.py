"""Why llama.cpp ends the process, told just before it does: by an abort of its own, or by an exception that nobody caught."""

import ctypes
from collections.abc import Callable
from typing import Any

from edgespec.errors import EngineError
from edgespec.llama.library import ggml_function, load_library, take_native_errors

_kept_callbacks: list[Any] = []


def on_native_end(handler: Callable[[str], None]) -> None:
    """Has `handler` told why, just before llama.cpp ends the process. A lost server is such an end, and so is a lost device.

    ggml-rpc.cpp has no error path: every failed send or receive is a GGML_ABORT (`RPC_STATUS_ASSERT`). ggml-vulkan.cpp throws
    Vulkan's errors through `llama_decode`, where nobody can catch them.

    Args:
        handler: Called in whatever thread ends the process, and does not return if it can help it.

    Raises:
        EngineError: llama.cpp cannot be loaded, or this build has no such hook.
    """
    load_library()
    _on_abort(handler)
    try:
        _on_uncaught(handler)
    except EngineError:
        return  # a C++ library of another kind, as on Windows: there it is the system that says something


def _on_abort(handler: Callable[[str], None]) -> None:
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p)

    def receive(text: bytes) -> None:
        # After the place in llama.cpp's sources.
        handler(text.decode("utf-8", "replace").strip().rpartition(": ")[2])

    callback = kind(receive)
    _kept_callbacks.append(callback)
    ggml_function("ggml_set_abort_callback", ctypes.c_void_p, kind)(callback)


def _on_uncaught(handler: Callable[[str], None]) -> None:
    """Takes the place of what prints the exception and aborts (`std::set_terminate`, by its name in the Itanium C++ ABI)."""
    kind = ctypes.CFUNCTYPE(None)
    set_terminate = ggml_function("_ZSt13set_terminatePFvvE", ctypes.c_void_p, kind)
    current = ggml_function("__cxa_current_exception_type", ctypes.c_void_p)
    demangle = ggml_function(
        "__cxa_demangle",
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_int),
    )

    def receive() -> None:
        words, address = take_native_errors(), current()
        name = b"an error"
        if address:
            # A `std::type_info` is a pointer to its functions, and one to its name.
            mangled = ctypes.cast(address, ctypes.POINTER(ctypes.c_char_p))[1]
            name = demangle(mangled.lstrip(b"*"), None, None, ctypes.byref(ctypes.c_int())) or mangled
        handler(f"{name.decode('utf-8', 'replace')}{': ' if words else ''}{words}")

    callback = kind(receive)
    _kept_callbacks.append(callback)
    set_terminate(callback)
