"""Where a model's layers go: how many on the GPU, which devices, in which shares."""

from dataclasses import dataclass
from typing import Literal

from edgespec.errors import UsageError
from edgespec.llama.devices import Device, default_devices
from edgespec.ranges import check_ranges

GpuLayers = int | Literal["auto"]

DEVICE_RESERVE_BYTES = 512 << 20
"""Left free on a device for compute buffers and for whoever draws the screen; chosen, not measured."""


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """What the user asked for.

    Raises:
        UsageError: a number outside its range.
    """

    gpu_layers: GpuLayers = "auto"
    devices: tuple[str, ...] = ()
    """Device names; empty means all that llama.cpp would take."""
    tensor_split: tuple[float, ...] = ()
    """Share of the layers for each device."""

    def __post_init__(self) -> None:
        check_ranges(gpu_layers=None if self.gpu_layers == "auto" else self.gpu_layers)
        for share in self.tensor_split:
            check_ranges(tensor_split=share)


@dataclass(frozen=True, slots=True)
class Placement:
    """What llama.cpp is told."""

    gpu_layers: int = 0
    devices: tuple[str, ...] = ()
    tensor_split: tuple[float, ...] = ()
    reason: str = "all layers on the CPU"


def parse_gpu_layers(text: str, role: Literal["target", "draft"] = "target") -> GpuLayers:
    """`auto`, `all` or a number of layers; `all` is a number that no model has.

    Args:
        text: What was written.
        role: Whose layers.

    Raises:
        UsageError: anything else.
    """
    if text == "auto":
        return "auto"
    if text == "all":
        return 1 << 16
    if text.isdecimal():
        return int(text)
    setting = "`gpu_layers`" if role == "target" else "`draft_gpu_layers`"
    raise UsageError(f"{setting} {text!r} is not a number of layers", "use auto, all, 0 or a whole number")


def place_model(
    request: PlacementRequest,
    available: tuple[Device, ...],
    *,
    block_count: int,
    weights_bytes: int,
    kv_bytes: int,
    takes_remote: bool = True,
) -> Placement:
    """Decides how many of the `block_count + 1` layers (blocks and the output) go to accelerators.

    `auto` counts every layer as an equal share of weights and KV cache and fills the free memory of the
    devices, less a reserve.

    Args:
        request: What the user asked for.
        available: What llama.cpp reports.
        block_count: Blocks of the model.
        weights_bytes: All of its weights.
        kv_bytes: Its KV cache and recurrent states.
        takes_remote: Whether devices of RPC servers count where none is named.

    Raises:
        UsageError: any of `check_request`, or more shares than devices.
    """
    check_request(request, available)
    defaults = default_devices(available)
    accelerators = _named(request.devices, available) if request.devices else defaults
    if not request.devices and not takes_remote:
        accelerators = tuple(device for device in defaults if not device.is_remote)
    where = ", ".join(device.name for device in accelerators)
    shares = len(request.tensor_split)
    if accelerators and shares > len(accelerators):
        count = len(accelerators)
        raise UsageError(
            f"`tensor_split` names {shares} shares and there are {count} devices: {where}",
            "give one share for each device",
        )
    takes_all = not request.devices and accelerators == defaults
    names = () if takes_all else tuple(device.name for device in accelerators)
    layers = block_count + 1
    if request.gpu_layers != "auto":
        wanted = min(request.gpu_layers, layers)
        if wanted and not accelerators:
            return Placement(reason="no GPU in this build of llama.cpp: all layers on the CPU")
        return Placement(
            wanted, names, request.tensor_split, f"{wanted} of {layers} layers offloaded, as asked"
        )
    if not accelerators:
        return Placement()
    free = sum(room_on(device, available) for device in accelerators)
    per_layer = max(1, (weights_bytes + kv_bytes) // layers)
    fitting = max(0, min(layers, free // per_layer))
    return Placement(fitting, names, request.tensor_split, f"{fitting} of {layers} layers fit on {where}")


def room_on(device: Device, available: tuple[Device, ...]) -> int:
    """Bytes that layers may take on a device: what is free, less a reserve; of one that reports none, the processor's memory.

    Args:
        device: One of those.
        available: What llama.cpp reports.
    """
    free = device.memory_free_bytes
    if not device.memory_total_bytes:
        # As llama.cpp does when it shares layers out (llama-model.cpp, `load_tensors`).
        free = max((other.memory_free_bytes for other in available if other.kind == "cpu"), default=0)
    return max(0, free - DEVICE_RESERVE_BYTES)


def _named(names: tuple[str, ...], available: tuple[Device, ...]) -> tuple[Device, ...]:
    """The accelerators of these names, in their order, each once."""
    known = {device.name.lower(): device for device in available if device.kind in ("gpu", "igpu")}
    return tuple(known[name] for name in dict.fromkeys(name.lower() for name in names) if name in known)


def check_request(request: PlacementRequest, available: tuple[Device, ...]) -> None:
    """Refuses what no model could be placed by.

    Args:
        request: What the user asked for.
        available: What llama.cpp reports.

    Raises:
        UsageError: a device was named that this build of llama.cpp does not have, or every share is 0, which llama.cpp
            would take for none given.
    """
    known = {device.name.lower() for device in available}
    names = ", ".join(device.name for device in available)
    for name in request.devices:
        if name.lower() not in known:
            raise UsageError(f"there is no device {name!r}", f"this build of llama.cpp has: {names}")
    if request.tensor_split and not any(request.tensor_split):
        shares = ",".join(f"{share:g}" for share in request.tensor_split)
        raise UsageError(
            f"`tensor_split` {shares} gives no device a share",
            f"use shares such as 3,1; this build of llama.cpp has: {names}",
        )
