"""llama.cpp's RPC backend: the devices of other machines.

The functions are those of ggml-rpc.h and ggml.h; `common_params_parse` of llama.cpp's common/arg.cpp registers servers
in the same way. The protocol has neither authentication nor encryption. llama.cpp ends the process when a server cannot
be reached and waits for ever for one that is busy, so each is greeted here first, in the protocol's own first words.
"""

import ctypes
import ipaddress
import os
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from edgespec.errors import EngineError, UsageError
from edgespec.llama.devices import list_devices
from edgespec.llama.library import ggml_function, load_library

DEFAULT_PORT: Final = 50052
"""llama.cpp's own rpc-server listens there."""
LOOPBACK: Final = "127.0.0.1"
_CONNECT_S = 5.0
"""Bounds the wait for a machine that is not there; in a local network an answer takes milliseconds."""
_GREETING_S = 10.0
"""Bounds the wait for a first word: a server that serves somebody else says nothing until that one is gone."""
LOST_AFTER_S = 30
"""Silence of another machine's network, not of its server, that counts as a loss: bounds how long a user waits."""
_HELLO = struct.pack("<BQ24x", 14, 24)
_HELLO_ANSWER = struct.pack("<Q", 28)
"""`RPC_CMD_HELLO`, whose number is promised to stay, with 24 bytes of capabilities, and the size of the answer
(ggml-rpc.cpp); the version in it is llama.cpp's to judge."""
_START = "edgespec rpc-serve `host` ADDRESS `port` {}"
_REBUILD = "build llama-cpp-python with CMAKE_ARGS=-DGGML_RPC=ON, as `make install` does"

_connected: set[str] = set()
_connecting = threading.Lock()


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
    """`HOST:PORT,...`; each entry once, in order.

    Raises:
        UsageError: an entry is not such an address.
    """
    found: list[Endpoint] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        host, colon, port = part.rpartition(":")
        # llama.cpp splits at the last colon and resolves IPv4 addresses and names only.
        if not colon or not host or ":" in host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise UsageError(
                f"`rpc` {part!r} is not HOST:PORT", f"name a server such as 192.168.1.7:{DEFAULT_PORT}"
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
        EngineError: nobody listens there, or something that is not an RPC server, or one that is busy or offers no
            device; or this build lacks the backend.
    """
    if not endpoints:
        return
    check_rpc()
    with _connecting:
        for endpoint in endpoints:
            if str(endpoint) not in _connected:
                _connect(endpoint)
                _connected.add(str(endpoint))


def _connect(endpoint: Endpoint) -> None:
    _greet(endpoint)
    before = len(list_devices())
    _register(str(endpoint))
    if len(list_devices()) == before:
        raise EngineError(
            f"the RPC server {endpoint} offers no device",
            f"start it anew there: {_START.format(endpoint.port)}",
        )


def notice_silence(endpoints: tuple[Endpoint, ...]) -> None:
    """Has the system end connections to machines that vanished: llama.cpp would wait for them for good.

    To be called when a model has been loaded, as llama.cpp connects then. Does nothing on Windows.
    """
    if not endpoints or os.name != "posix":
        return
    import psutil

    addresses = {(socket.gethostbyname(endpoint.host), endpoint.port) for endpoint in endpoints}
    for connection in psutil.Process().net_connections("tcp4"):
        if connection.fd >= 0 and connection.raddr and tuple(connection.raddr) in addresses:
            with suppress(OSError), socket.socket(fileno=os.dup(connection.fd)) as link:
                _keep_alive(link)


def _greet(endpoint: Endpoint) -> None:
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout=_CONNECT_S) as link:
            link.settimeout(_GREETING_S)
            answer = _answer(link)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EngineError(
            f"no RPC server answers at {endpoint}: {reason}",
            f"start one there: {_START.format(endpoint.port)}",
        ) from error
    if answer is None:
        raise EngineError(
            f"the RPC server {endpoint} says nothing",
            "it serves one program at a time: end the other one, or start a second server on another port",
        )
    if answer != _HELLO_ANSWER:
        raise EngineError(
            f"what listens at {endpoint} is not an RPC server of this llama.cpp",
            "check the port, and that both machines have the same edgespec",
        )


def _answer(link: socket.socket) -> bytes | None:
    """The first bytes of the answer to a greeting, fewer where the other side hangs up; None when it is silent."""
    received = b""
    try:
        link.sendall(_HELLO)
        while len(received) < len(_HELLO_ANSWER):
            more = link.recv(len(_HELLO_ANSWER) - len(received))
            if not more:
                break
            received += more
    except TimeoutError:
        return None
    except ConnectionError:
        pass
    return received


def _keep_alive(link: socket.socket) -> None:
    third = LOST_AFTER_S // 3
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # macOS calls the first by another name and lacks the last.
    idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"
    values = {
        idle: third,
        "TCP_KEEPINTVL": third // 2,
        "TCP_KEEPCNT": 4,
        "TCP_USER_TIMEOUT": LOST_AFTER_S * 1000,
    }
    for name, value in values.items():
        if hasattr(socket, name):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _register(endpoint: str) -> None:
    add = ggml_function("ggml_backend_rpc_add_server", ctypes.c_void_p, ctypes.c_char_p)
    registry = add(endpoint.encode())
    if registry:
        ggml_function("ggml_backend_register", None, ctypes.c_void_p)(registry)
