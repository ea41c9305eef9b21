"""llama.cpp's RPC server in this process: other machines compute on its devices (ggml-rpc.h)."""

import ctypes
import os
import socket

from edgespec.errors import EngineError
from edgespec.llama.devices import Device, default_devices, device_handle, list_devices
from edgespec.llama.library import ggml_function
from edgespec.llama.rpc import Endpoint


def offered_devices() -> tuple[Device, ...]:
    """What a server on this machine offers: its accelerators, or the CPU where it has none.

    Raises:
        EngineError: llama.cpp cannot be loaded.
    """
    own = list_devices()
    return default_devices(own) or tuple(device for device in own if device.kind == "cpu")


def check_free(endpoint: Endpoint) -> None:
    """Whether a server could listen there.

    Raises:
        EngineError: the port is taken, or this machine does not have that address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((endpoint.host, endpoint.port))
        except OSError as error:
            raise EngineError(
                f"cannot listen on {endpoint}: {(error.strerror or str(error)).lower()}",
                "choose another `port`, or an address of this machine for `host`",
            ) from error


def serve(endpoint: Endpoint, devices: tuple[Device, ...], n_threads: int) -> None:
    """Serves until the process ends; blocks in native code without the interpreter's lock.

    `rpc.check_rpc` and `check_free` come before: here a failure could only be printed by llama.cpp.

    Args:
        endpoint: Where it listens.
        devices: What it offers, `offered_devices` or some of them.
        n_threads: For what is computed on the CPU.

    Raises:
        EngineError: a device is gone, or this build has no RPC server.
    """
    handles = (ctypes.c_void_p * len(devices))(*(device_handle(device.name) for device in devices))
    start = ggml_function(
        "ggml_backend_rpc_start_server",
        None,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_void_p),
    )
    start(str(endpoint).encode(), None, n_threads, len(devices), handles)
