"""What a target takes, foreseen and asked, against what llama.cpp allocates; and when it is asked."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgespec.catalog import memory
from edgespec.catalog.model_file import open_file
from edgespec.errors import NotEnoughMemoryError
from edgespec.llama.context_settings import FlashAttention
from edgespec.llama.devices import Device
from edgespec.llama.library import load_library, native_lines
from edgespec.llama.placement import PlacementRequest
from edgespec.session import EngineSettings, placing
from edgespec.session.loading import load_target
from edgespec.session.memory_needs import TARGET_ROWS, estimate_target, measure_target
from edgespec.session.placing import check_memory
from tests.tiny_memories import ARCHITECTURES, MemoryKind, make_tiny_memory

MIB = 2**20


def allocated_bytes(model: Path, settings: EngineSettings) -> float:
    """Weights, caches, states and buffers as llama.cpp tells them, with logits of a whole verification."""
    load_library()
    lines: list[str] = []
    with native_lines(lines.append):
        loaded = load_target(open_file("m", model), settings)
    n_vocab = loaded.model.n_vocab
    loaded.close()
    sizes = [
        float(found[2])
        for line in lines
        if (found := re.search(r"(\w+) +buffer size = +([\d.]+) MiB", line)) and found[1] != "output"
    ]
    assert len(sizes) > 2, "llama.cpp tells its buffers in other words"
    return sum(sizes) * MIB + TARGET_ROWS * n_vocab * 4


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("flash_attention", ["auto", "off"])
def test_what_is_asked_is_within_a_twentieth(
    kind: MemoryKind, flash_attention: FlashAttention, tmp_path: Path
) -> None:
    model = make_tiny_memory(tmp_path / "m.gguf", kind, context=4096)
    settings = EngineSettings(n_ctx=4096, n_threads=1, flash_attention=flash_attention)
    found = allocated_bytes(model, settings)
    assert measure_target(open_file("m", model), settings).total_bytes == pytest.approx(found, rel=0.05)
    assert estimate_target(open_file("m", model), settings).total_bytes == pytest.approx(found, rel=0.15)


def test_llama_cpp_is_asked_only_where_the_buffers_decide(
    tiny_model: Path, asked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, settings = open_file("tiny", tiny_model), EngineSettings(n_ctx=4096, n_threads=1)
    foreseen, exact = estimate_target(file, settings), measure_target(file, settings)
    asked.clear()
    certain = foreseen.total_bytes - foreseen.buffers_bytes

    def check_with(available: int) -> None:
        monkeypatch.setattr(memory, "available_memory_bytes", lambda: available)
        check_memory(file, [], settings)

    check_with(certain + 2 * foreseen.buffers_bytes)
    with pytest.raises(NotEnoughMemoryError):
        check_with(certain - 1)
    assert not asked
    check_with(exact.total_bytes)
    with pytest.raises(NotEnoughMemoryError):
        check_with(exact.total_bytes - 1)
    assert len(asked) == 2


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files of which models were made."""
    lib = load_library()
    load: Callable[..., Any] = lib.llama_model_load_from_file
    files: list[Path] = []

    def count(path: bytes, *arguments: Any) -> Any:
        files.append(Path(path.decode()))
        return load(path, *arguments)

    monkeypatch.setattr(lib, "llama_model_load_from_file", count)
    return files


def test_what_a_card_with_memory_of_its_own_takes_is_not_this_machines(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = open_file("tiny", tiny_model)
    card = Device("CUDA0", "A card", "gpu", 8 << 30, 8 << 30, "0000:c1:00.0")
    whole = estimate_target(file, EngineSettings(n_ctx=4096))

    def check(available: int, *devices: Device, **settings: Any) -> None:
        monkeypatch.setattr(placing, "list_devices", lambda: devices)
        monkeypatch.setattr(memory, "available_memory_bytes", lambda: available)
        check_memory(file, [], EngineSettings(n_ctx=4096, **settings))

    buffers = whole.total_bytes - whole.weights_bytes - whole.kv_bytes
    check(buffers, card)
    for devices in ((), (replace(card, card=""),), (replace(card, kind="igpu"),)):
        with pytest.raises(NotEnoughMemoryError):
            check(buffers, *devices)
    with pytest.raises(NotEnoughMemoryError):
        check(buffers, card, placement=PlacementRequest(0))
    with pytest.raises(NotEnoughMemoryError):
        check(buffers, card, kv_offload=False)
    check(buffers + whole.kv_bytes, card, kv_offload=False)
