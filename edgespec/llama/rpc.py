"""llama.cpp's RPC backend: devices of other machines, and this machine's for others.

The functions are those of ggml-rpc.h and ggml.h; `common_params_parse` of llama.cpp's common/arg.cpp registers servers
in the same way. The protocol has neither authentication nor encryption.
"""

import ctypes
import ipaddress
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from edgespec.errors import EngineError, UsageError
from edgespec.llama.library import Device, device_handle, ggml_function, list_devices, load_library

DEFAULT_PORT: Final = 50052
"""llama.cpp's own rpc-server listens there."""
LOOPBACK: Final = "127.0.0.1"
_CONNECT_S = 5.0
_GREETING_S = 10.0
_REBUILD = "build llama-cpp-python with CMAKE_ARGS=-DGGML_RPC=ON, as `make install` does"

_connected: set[str] = set()
_kept_callbacks: list[Any] = []


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_endpoints(text: str) -> tuple[Endpoint, ...]:
    """`HOST:PORT,...`; no entry twice.

    Raises:
        UsageError: an entry is no such address.
    """
    found: list[Endpoint] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        host, colon, port = part.rpartition(":")
        # llama.cpp splits at the last colon and resolves IPv4 addresses and names only.
        if not colon or not host or ":" in host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise UsageError(
                f"--rpc {part!r} is not HOST:PORT", f"name a server such as 192.168.1.7:{DEFAULT_PORT}"
            )
        found.append(Endpoint(host, int(port)))
    return tuple(dict.fromkeys(found))


def check_rpc() -> None:
    """Whether this build of llama.cpp has the backend.

    Raises:
        EngineError: it has not.
    """
    if not load_library().llama_supports_rpc():
        raise EngineError("this build of llama.cpp has no RPC backend", _REBUILD)


def connect_servers(endpoints: tuple[Endpoint, ...]) -> None:
    """Adds the devices of the servers to those of this process, once; they come last in `list_devices`.

    Raises:
        EngineError: nobody listens there, or no RPC server; or the backend is missing.
    """
    if not endpoints:
        return
    check_rpc()
    for endpoint in endpoints:
        if str(endpoint) in _connected:
            continue
        _check_listens(endpoint)
        before = len(list_devices())
        # llama.cpp waits for ever for the greeting of a server of another kind.
        registering = threading.Thread(target=_register, args=(str(endpoint),), daemon=True)
        registering.start()
        registering.join(_GREETING_S)
        if registering.is_alive() or len(list_devices()) == before:
            raise EngineError(
                f"what listens at {endpoint} is no RPC server of this llama.cpp",
                "check the port, and that both machines have the same edgespec",
            )
        _connected.add(str(endpoint))


def offered_devices() -> tuple[Device, ...]:
    """What a server on this machine offers: its accelerators, or the CPU where it has none."""
    own = list_devices()
    accelerators = [device for device in own if device.kind in ("gpu", "igpu")]
    return tuple(accelerators or [device for device in own if device.kind == "cpu"])


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
                "choose another --port, or an address of this machine for --host",
            ) from error


def serve(endpoint: Endpoint, devices: tuple[Device, ...], n_threads: int) -> None:
    """Serves until the process ends; blocks in native code without the interpreter's lock.

    `check_rpc` and `check_free` come before: here a failure could only be printed by llama.cpp.
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


def on_native_abort(handler: Callable[[str], None]) -> None:
    """Has `handler` told why, just before llama.cpp ends the process; a lost server is such an end.

    ggml-rpc.cpp has no error path: every failed send or receive is a GGML_ABORT (`RPC_STATUS_ASSERT`).
    """
    load_library()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p)

    def receive(text: bytes) -> None:
        # After the place in llama.cpp's sources.
        handler(text.decode("utf-8", "replace").strip().rpartition(": ")[2])

    callback = kind(receive)
    _kept_callbacks.append(callback)
    ggml_function("ggml_set_abort_callback", ctypes.c_void_p, kind)(callback)


def _check_listens(endpoint: Endpoint) -> None:
    """llama.cpp ends the process when it cannot connect, so this is found out before."""
    try:
        socket.create_connection((endpoint.host, endpoint.port), timeout=_CONNECT_S).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EngineError(
            f"no RPC server answers at {endpoint}: {reason}",
            f"start one there: edgespec rpc-serve --host ADDRESS --port {endpoint.port}",
        ) from error


def _register(endpoint: str) -> None:
    add = ggml_function("ggml_backend_rpc_add_server", ctypes.c_void_p, ctypes.c_char_p)
    registry = add(endpoint.encode())
    if registry:
        ggml_function("ggml_backend_register", None, ctypes.c_void_p)(registry)
