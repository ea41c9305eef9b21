"""The devices that this build of llama.cpp computes on, those of RPC servers included (ggml-backend.h)."""

import ctypes
from dataclasses import dataclass
from typing import Literal

from edgespec.errors import EngineError
from edgespec.llama.library import ggml_function, load_library

DeviceKind = Literal["cpu", "gpu", "igpu", "accel"]

_DEVICE_KINDS: dict[int, DeviceKind] = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}
"""`ggml_backend_dev_type` of ggml-backend.h."""


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


def list_devices() -> tuple[Device, ...]:
    """All devices in llama.cpp's own order, with the memory that is free now.

    Raises:
        EngineError: llama.cpp cannot be loaded.
    """
    return tuple(_describe_device(handle) for handle in _device_handles())


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
