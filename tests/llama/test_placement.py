"""Where layers go, decided from devices that need not be here."""

import pytest

from edgespec.errors import UsageError
from edgespec.llama.devices import Device, default_devices
from edgespec.llama.placement import (
    DEVICE_RESERVE_BYTES,
    Placement,
    PlacementRequest,
    parse_gpu_layers,
    place_model,
)

GIB = 1 << 30
CPU = Device("CPU", "A processor", "cpu", 32 * GIB, 64 * GIB)


def gpu(name: str, free_bytes: int, kind: str = "gpu", card: str = "") -> Device:
    """A device with `free_bytes` for a model, the reserve not counted."""
    return Device(name, "A card", kind, free_bytes + DEVICE_RESERVE_BYTES, 80 * GIB, card)


def place(request: PlacementRequest, *devices: Device, weights: int = 10 * GIB, kv: int = GIB) -> Placement:
    """Of ten blocks and the output: with the defaults, each of the eleven layers takes one GiB."""
    return place_model(request, (CPU, *devices), block_count=10, weights_bytes=weights, kv_bytes=kv)


def test_without_a_gpu_all_layers_stay_on_the_cpu():
    assert place(PlacementRequest()) == Placement(0, (), (), "all layers on the CPU")


@pytest.mark.parametrize(
    ("free", "fitting"), [(0, 0), (GIB - 1, 0), (GIB, 1), (4 * GIB + 1, 4), (11 * GIB, 11), (70 * GIB, 11)]
)
def test_auto_offloads_the_layers_that_fit(free: int, fitting: int):
    placement = place(PlacementRequest(), gpu("CUDA0", free))
    assert placement == Placement(fitting, (), (), f"{fitting} of 11 layers fit on CUDA0")


def test_a_device_with_less_than_the_reserve_takes_nothing():
    crowded = Device("CUDA0", "A card", "gpu", DEVICE_RESERVE_BYTES // 2, 8 * GIB)
    assert place(PlacementRequest(), crowded).gpu_layers == 0


def test_the_kv_cache_counts_as_much_as_weights():
    card = gpu("CUDA0", 10 * GIB)
    assert place(PlacementRequest(), card, weights=11 * GIB, kv=0).gpu_layers == 10
    assert place(PlacementRequest(), card, weights=11 * GIB, kv=11 * GIB).gpu_layers == 5


def test_auto_adds_up_several_devices_but_only_gpus():
    accelerator = gpu("BLAS", 64 * GIB, "accel")
    placement = place(PlacementRequest(), gpu("CUDA0", 2 * GIB), accelerator, gpu("Vulkan1", 3 * GIB))
    assert placement.gpu_layers == 5
    assert placement.reason == "5 of 11 layers fit on CUDA0, Vulkan1"


def test_integrated_graphics_count_only_where_there_is_nothing_else():
    """llama.cpp leaves them out beside a card: what they have room for would push a card beyond its own."""
    card, integrated = gpu("Vulkan0", 2 * GIB), gpu("Vulkan1", 9 * GIB, "igpu")
    assert default_devices((CPU, integrated, card)) == (card,)
    assert place(PlacementRequest(), integrated, card).gpu_layers == 2
    assert place(PlacementRequest(), integrated) == Placement(9, (), (), "9 of 11 layers fit on Vulkan1")
    assert place(PlacementRequest(devices=("Vulkan1",)), integrated, card).gpu_layers == 9
    remote = gpu("RPC0", GIB)
    assert default_devices((CPU, integrated, remote)) == (remote, integrated)


def test_a_card_that_two_backends_see_counts_once():
    cuda, vulkan = gpu("CUDA0", 3 * GIB, card="0000:c1:00.0"), gpu("Vulkan0", 3 * GIB, card="0000:c1:00.0")
    other = gpu("Vulkan1", 2 * GIB, card="0000:c2:00.0")
    assert default_devices((CPU, cuda, vulkan, other)) == (cuda, other)
    assert place(PlacementRequest(), cuda, vulkan, other).gpu_layers == 5
    # What does not say where it is plugged in is taken for a card of its own, as llama.cpp does.
    assert len(default_devices((gpu("Vulkan0", GIB), gpu("Vulkan1", GIB)))) == 2


def test_of_a_device_that_reports_no_memory_the_processors_counts():
    silent = Device("GPUOpenCL", "A card", "gpu", 0, 0)
    placement = place(PlacementRequest(), silent, weights=64 * GIB, kv=2 * GIB)
    assert placement.gpu_layers == (32 * GIB - DEVICE_RESERVE_BYTES) // (6 * GIB)


def test_named_devices_take_their_shares_in_the_order_of_their_names():
    cards = (gpu("CUDA0", 20 * GIB), gpu("CUDA1", 20 * GIB))
    request = PlacementRequest(devices=("cuda1", "CUDA0", "CUDA1"), tensor_split=(3.0, 1.0))
    assert place(request, *cards).devices == ("CUDA1", "CUDA0")


def test_only_a_card_and_another_machine_have_memory_of_their_own():
    assert gpu("CUDA0", GIB, card="0000:c1:00.0").has_own_memory
    assert gpu("RPC0", GIB).has_own_memory
    assert not gpu("MTL0", GIB).has_own_memory
    assert not gpu("Vulkan0", GIB, "igpu", card="0000:00:02.0").has_own_memory
    assert not CPU.has_own_memory


def test_only_the_devices_that_were_named_count_and_are_passed_on():
    cards = (gpu("CUDA0", 2 * GIB), gpu("CUDA1", 3 * GIB))
    placement = place(PlacementRequest(devices=("cuda1",)), *cards)
    assert placement == Placement(3, ("CUDA1",), (), "3 of 11 layers fit on CUDA1")


def test_a_number_is_passed_on_whatever_fits():
    request = PlacementRequest(7, tensor_split=(3.0, 1.0))
    placement = place(request, gpu("CUDA0", 0), gpu("CUDA1", 0))
    assert placement == Placement(7, (), (3.0, 1.0), "7 of 11 layers offloaded, as asked")


def test_more_layers_than_there_are_is_all_of_them():
    placement = place(PlacementRequest(parse_gpu_layers("all")), gpu("CUDA0", 0))
    assert placement == Placement(11, (), (), "11 of 11 layers offloaded, as asked")


def test_no_layers_asked_for_means_no_layers():
    assert place(PlacementRequest(0), gpu("CUDA0", 70 * GIB)).gpu_layers == 0


def test_layers_asked_for_without_a_gpu_stay_on_the_cpu_and_it_says_so():
    placement = place(PlacementRequest(20, tensor_split=(1.0,)))
    assert placement == Placement(0, (), (), "no GPU in this build of llama.cpp: all layers on the CPU")


def test_the_shares_of_an_automatic_placement_are_passed_on():
    cards = (gpu("CUDA0", 20 * GIB), gpu("CUDA1", 20 * GIB))
    assert place(PlacementRequest(tensor_split=(1.0, 2.0)), *cards).tensor_split == (1.0, 2.0)


def test_the_cpu_can_be_named_to_keep_the_gpu_out():
    assert place(PlacementRequest(devices=("CPU",)), gpu("CUDA0", 70 * GIB)).gpu_layers == 0


@pytest.mark.parametrize("layers", ["auto", 5])
def test_an_unknown_device_names_the_known_ones(layers):
    with pytest.raises(UsageError) as caught:
        place(PlacementRequest(layers, devices=("CUDA0", "CUDA3")), gpu("CUDA0", GIB))
    assert caught.value.message == "there is no device 'CUDA3'"
    assert caught.value.hint == "this build of llama.cpp has: CPU, CUDA0"


def test_more_shares_than_devices_are_refused():
    with pytest.raises(UsageError) as caught:
        place(PlacementRequest(tensor_split=(1.0, 1.0, 1.0)), gpu("CUDA0", GIB), gpu("CUDA1", GIB))
    assert caught.value.message == "`tensor_split` names 3 shares and there are 2 devices: CUDA0, CUDA1"


@pytest.mark.parametrize("shares", [(0.0,), (0.0, 0.0)])
@pytest.mark.parametrize("devices", [(), (gpu("CUDA0", GIB), gpu("CUDA1", GIB))])
def test_shares_that_are_all_nothing_are_refused(shares: tuple[float, ...], devices: tuple[Device, ...]):
    """llama.cpp would take them for none given."""
    with pytest.raises(UsageError) as caught:
        place(PlacementRequest(tensor_split=shares), *devices)
    written = ",".join(["0"] * len(shares))
    assert caught.value.message == f"`tensor_split` {written} gives no device a share"
    names = ", ".join(device.name for device in (CPU, *devices))
    assert caught.value.hint == f"use shares such as 3,1; this build of llama.cpp has: {names}"


@pytest.mark.parametrize(("text", "layers"), [("auto", "auto"), ("0", 0), ("35", 35)])
def test_layers_are_a_word_or_a_number(text: str, layers):
    assert parse_gpu_layers(text) == layers


@pytest.mark.parametrize("text", ["-1", "many", "", "1.5", "\u00b2"])
def test_other_layers_are_refused(text: str):
    with pytest.raises(UsageError) as caught:
        parse_gpu_layers(text)
    assert caught.value.message == f"`gpu_layers` {text!r} is not a number of layers"
    assert caught.value.hint == "use auto, all, 0 or a whole number"


def test_the_drafts_layers_are_refused_by_their_own_name():
    with pytest.raises(UsageError, match="`draft_gpu_layers` 'foo' is not a number of layers"):
        parse_gpu_layers("foo", "draft")


def test_a_draft_takes_devices_of_other_machines_only_by_name():
    remote, card = gpu("RPC0", 20 * GIB), gpu("CUDA0", 20 * GIB)

    def draft(request: PlacementRequest, *devices: Device) -> Placement:
        return place_model(
            request, (CPU, *devices), block_count=10, weights_bytes=10 * GIB, kv_bytes=GIB, takes_remote=False
        )

    assert draft(PlacementRequest(), remote).gpu_layers == 0
    beside = draft(PlacementRequest(), card, remote)
    assert (beside.gpu_layers, beside.devices) == (11, ("CUDA0",))
    away = draft(PlacementRequest(devices=("rpc0",)), card, remote)
    assert (away.gpu_layers, away.devices) == (11, ("RPC0",))
    assert place(PlacementRequest(), card, remote).reason == "11 of 11 layers fit on RPC0, CUDA0"
