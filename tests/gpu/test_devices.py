"""What models compute on a device, against the CPU; skipped where llama.cpp has no device of its own.

A processor that plays a Vulkan device will do: `GGML_VK_VISIBLE_DEVICES=0`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.devices import Device, default_devices, list_devices
from edgespec.llama.library import native_lines
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement, PlacementRequest, place_model
from tests.tiny_memories import ARCHITECTURES, BLOCKS, MemoryKind, make_tiny_memory

DEVICES = tuple(device for device in default_devices(list_devices()) if not device.is_remote)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not DEVICES, reason="this build of llama.cpp has no device here"),
]
NOISE = 0.2
"""Logits have a standard deviation of 3; devices round to 16 bits in between, and a wrong state moves them by 1 and more."""
LAYERS = (1, 3, BLOCKS + 1)
"""The last has the output there as well."""


@pytest.fixture(scope="module", params=ARCHITECTURES)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind: MemoryKind = request.param
    return make_tiny_memory(tmp_path_factory.mktemp("memories") / f"{kind}.gguf", kind)


@pytest.fixture(scope="module")
def on_cpu(path: Path) -> Iterator[Model]:
    with Model(path) as loaded:
        yield loaded


def open_context(model: Model, **changes: Any) -> Context:
    usual = {"n_ctx": 512, "n_threads": 1, "n_outputs_max": 16, "n_batch": 64, "n_snapshots": 7}
    return Context(model, ContextSettings(**{**usual, **changes}))


def rounds(model: Model, **changes: Any) -> list[NDArray[np.float32]]:
    """The logits after a prompt and after rounds of rows of which some are taken back."""
    random, seen = Random(7), list[NDArray[np.float32]]()
    with open_context(model, **changes) as context:
        context.prefill([random.randrange(3, 250) for _ in range(100)])
        seen.append(context.logits(1).copy())
        for rows in (1, 2, 3, 5, 8, 4):
            first = context.n_past
            context.mark(rows)
            context.decode([random.randrange(3, 250) for _ in range(rows)], outputs=rows)
            seen.append(context.logits(rows).copy())
            context.rollback(first + random.randrange(1, rows + 1))
            context.decode([random.randrange(3, 250)])
            seen.append(context.logits(1).copy())
    return seen


def assert_alike(left: Sequence[NDArray[np.float32]], right: Sequence[NDArray[np.float32]]) -> None:
    for place, (one, other) in enumerate(zip(left, right, strict=True)):
        assert float(np.abs(one - other).max()) < NOISE, place


@pytest.mark.parametrize("layers", LAYERS)
def test_logits_are_those_of_the_cpu_after_every_round(path: Path, on_cpu: Model, layers: int):
    with Model(path, Placement(layers)) as model:
        assert_alike(rounds(model), rounds(on_cpu))


def test_a_cache_that_stays_here_gives_the_same(path: Path, on_cpu: Model):
    lines: list[str] = []
    with Model(path, Placement(BLOCKS + 1)) as model:
        with native_lines(lines.append):
            here = rounds(model, kv_offload=False)
        assert_alike(here, rounds(on_cpu))
    caches = [line for line in lines if "KV buffer size" in line or "RS buffer size" in line]
    assert caches
    assert all("CPU" in line for line in caches), caches


def test_without_flash_attention_as_well(path: Path, on_cpu: Model):
    with Model(path, Placement(BLOCKS + 1)) as model:
        assert_alike(rounds(model, flash_attention="off"), rounds(on_cpu, flash_attention="off"))


def test_a_model_that_stays_here_computes_as_without_a_device(path: Path, on_cpu: Model):
    lines: list[str] = []
    with native_lines(lines.append), Model(path, Placement(0)) as model:
        here = rounds(model)
    assert not [line for line in lines if DEVICES[0].name in line and "buffer size" in line]
    for one, other in zip(here, rounds(on_cpu), strict=True):
        np.testing.assert_array_equal(one, other)


def test_all_layers_of_a_small_model_fit(path: Path):
    placement = place_model(
        PlacementRequest(), list_devices(), block_count=BLOCKS, weights_bytes=path.stat().st_size, kv_bytes=1
    )
    assert placement.gpu_layers == BLOCKS + 1
    assert DEVICES[0].name in placement.reason


def test_a_device_says_what_memory_it_has():
    device: Device
    for device in DEVICES:
        assert 0 < device.memory_free_bytes <= device.memory_total_bytes
