"""Buffers that llama.cpp plans when it is asked against those that it makes, on every kind of memory."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.errors import ModelFileError
from edgespec.llama.context_settings import ContextSettings, FlashAttention
from edgespec.llama.library import load_library, native_lines
from edgespec.llama.model import Model
from edgespec.llama.native_context import NativeContext
from edgespec.llama.reservation import reserved_bytes
from tests.tiny_memories import ARCHITECTURES, MemoryKind, make_tiny_memory

MIB = 2**20
SETTINGS = ContextSettings(4096, n_threads=1, n_outputs_max=16, n_snapshots=7, full_window=False)


def made_bytes(model: Path, settings: ContextSettings) -> int:
    """Of the buffers of a context that is really made."""
    load_library()
    lines: list[str] = []
    with native_lines(lines.append), Model(model) as loaded, NativeContext(loaded, settings):
        pass
    sizes = [float(found[1]) for line in lines if (found := re.search(r"compute buffer size = +(\S+)", line))]
    return round(sum(sizes) * MIB)


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("flash_attention", ["on", "off"])
def test_what_is_planned_is_what_is_made(
    kind: MemoryKind, flash_attention: FlashAttention, tmp_path: Path
) -> None:
    model = make_tiny_memory(tmp_path / "m.gguf", kind)
    settings = replace(SETTINGS, flash_attention=flash_attention)
    planned = reserved_bytes(model, settings)
    assert planned == made_bytes(model, settings)
    assert planned is not None
    assert planned > MIB


def test_nothing_is_allocated_for_the_cache_and_the_weights(tmp_path: Path) -> None:
    model = make_tiny_memory(tmp_path / "m.gguf", "plain")
    lines: list[str] = []
    with native_lines(lines.append):
        reserved_bytes(model, SETTINGS)
    sizes = {
        found[1]: float(found[2])
        for line in lines
        if (found := re.search(r"(KV|model) buffer size = +(\S+)", line))
    }
    assert sizes == {"KV": 0.0, "model": 0.0}


def test_a_file_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GIF89a")
    with pytest.raises(ModelFileError, match="broken"):
        reserved_bytes(broken, SETTINGS)
