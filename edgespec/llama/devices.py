"""The devices that this build of llama.cpp computes on, those of RPC servers included (ggml-backend.h)."""

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from edgespec.errors import EngineError
from edgespec.llama.library import ggml_function, load_library

DeviceKind = Literal["cpu", "gpu", "igpu", "accel"]

_DEVICE_KINDS: dict[int, DeviceKind] = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}
"""`ggml_backend_dev_type` of ggml-backend.h."""


class _Properties(ctypes.Structure):
    """The head of `ggml_backend_dev_props`, with room for what its abilities take behind it."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("kind", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("abilities", ctypes.c_byte * 64),
    )


@dataclass(frozen=True, slots=True)
class Device:
    """A device as llama.cpp reports it."""

    name: str
    description: str
    kind: DeviceKind
    memory_free_bytes: int
    memory_total_bytes: int
    card: str = ""
    """Where it is plugged in, such as `0000:c1:00.0`; empty where llama.cpp does not say, as of what has no memory of its own."""

    @property
    def has_own_memory(self) -> bool:
        """Whether what lies there takes nothing of this machine's memory."""
        return self.is_remote or (self.kind == "gpu" and bool(self.card))

    @property
    def is_remote(self) -> bool:
        """Whether it belongs to an RPC server; ggml-rpc.cpp names its devices RPC0, RPC1 and so on."""
        return self.name.startswith("RPC")


def list_devices() -> tuple[Device, ...]:
    """All devices in llama.cpp's own order, with the memory that is free now.

    Raises:
        EngineError: llama.cpp cannot be loaded.
    """
    return tuple(_describe_device(handle) for handle in _device_handles())


def default_devices(available: Iterable[Device]) -> tuple[Device, ...]:
    """The accelerators that llama.cpp takes where none is named, in its order (llama.cpp, `llama_prepare_model_devices`).

    Those of RPC servers come first, so that logits need not travel; then the GPUs, a card that two backends see once; integrated
    ones only where there is no other.

    Args:
        available: What `list_devices` gives.
    """
    remote, cards, integrated = [], dict[str, Device](), []
    for device in available:
        if device.kind == "igpu":
            integrated.append(device)
        elif device.kind == "gpu" and device.is_remote:
            remote.append(device)
        elif device.kind == "gpu":
            cards.setdefault(device.card or device.name, device)
    return (*remote, *(cards.values() or integrated))


def device_handle(name: str) -> int:
    """The `ggml_backend_dev_t` of the device called `name`, in any case, as an address.

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
    found = _Properties()
    read = ggml_function("ggml_backend_dev_get_props", None, ctypes.c_void_p, ctypes.POINTER(_Properties))
    read(handle, ctypes.byref(found))
    return Device(
        name=(found.name or b"").decode("utf-8", "replace"),
        description=(found.description or b"").decode("utf-8", "replace"),
        kind=_DEVICE_KINDS.get(found.kind, "accel"),
        memory_free_bytes=found.memory_free,
        memory_total_bytes=found.memory_total,
        card=(found.device_id or b"").decode("utf-8", "replace"),
    )
