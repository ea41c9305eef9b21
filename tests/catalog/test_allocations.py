"""Estimates from the header against what llama.cpp says that it allocates, on every kind of memory."""

import re
from pathlib import Path

import pytest

from edgespec.catalog.memory import estimate_memory
from edgespec.catalog.metadata import read_metadata
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import native_lines
from edgespec.llama.model import Model
from edgespec.llama.native_context import NativeContext
from tests.tiny_memories import ARCHITECTURES, MemoryKind, make_tiny_memory

MIB, TOKENS, SEQUENCES = 2**20, 8192, 256
"""Large enough that hundredths of a MiB, which is how finely it tells, are less than a hundredth."""


def allocated(model: Path, settings: ContextSettings) -> dict[str, float]:
    """Bytes by the name of the buffer."""
    lines: list[str] = []
    with native_lines(lines.append), Model(model) as loaded, NativeContext(loaded, settings):
        pass
    buffers: dict[str, float] = {}
    for line in lines:
        if found := re.search(r"(KV|RS|compute) buffer size = +([\d.]+) MiB", line):
            buffers[found[1]] = buffers.get(found[1], 0.0) + float(found[2]) * MIB
    return buffers


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_caches_and_states_are_as_large_as_they_are_estimated(kind: MemoryKind, tmp_path: Path) -> None:
    model = make_tiny_memory(tmp_path / "m.gguf", kind)
    settings = ContextSettings(
        TOKENS, n_threads=1, n_outputs_max=SEQUENCES, n_sequences=SEQUENCES, kv_unified=True
    )
    found = allocated(model, settings)
    estimate = estimate_memory(read_metadata(model), n_ctx=TOKENS, n_outputs=SEQUENCES, n_sequences=SEQUENCES)
    assert found, "llama.cpp tells its buffers in other words"
    assert estimate.kv_bytes == pytest.approx(found.get("KV", 0.0), rel=0.02)
    assert estimate.state_bytes == pytest.approx(found.get("RS", 0.0), rel=0.02)
    assert (estimate.state_bytes > 0) == (kind in ("snapshots", "convolution", "recurrent", "hybrid"))


@pytest.mark.model
def test_the_compute_buffer_of_the_default_model_is_as_large_as_it_is_estimated(smollm2: Path) -> None:
    found = allocated(smollm2, ContextSettings(4096, n_threads=1, n_outputs_max=16))
    estimate = estimate_memory(read_metadata(smollm2), n_ctx=4096, n_outputs=16)
    assert estimate.compute_bytes + estimate.mask_bytes == pytest.approx(found["compute"], rel=0.05)
    assert estimate.kv_bytes == pytest.approx(found["KV"], rel=0.01)
