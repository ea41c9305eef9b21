"""Every kind of tiny memory loads, is what it is called, and its logits feel what it holds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.kv_types import KvType
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from tests.decode.real import random_tokens
from tests.tiny_memories import ARCHITECTURES, MemoryKind, make_tiny_memory


def last_logits(model: Model, tokens: Sequence[int]) -> np.ndarray:
    # Flash attention rounds to 16 bits: without it, how a text was cut into batches does not show.
    settings = ContextSettings(256, n_threads=1, type_k=KvType.F32, type_v=KvType.F32, flash_attention="off")
    with Context(model, settings) as context:
        context.prefill(tokens)
        return context.logits(1)[0].copy()


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_another_beginning_or_another_token_a_little_before_moves_the_logits(
    kind: MemoryKind, tmp_path: Path
):
    text, other = random_tokens(1, 80), random_tokens(2, 80)
    with Model(make_tiny_memory(tmp_path / "m.gguf", kind)) as model:
        logits = last_logits(model, text)
        far = np.abs(last_logits(model, other[:60] + text[60:]) - logits).max()
        near = np.abs(last_logits(model, [*text[:76], 5, *text[77:]]) - logits).max()
    assert far > logits.std() / 3
    assert near > logits.std() / 10


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_llama_cpp_takes_each_kind_for_what_it_is_called(kind: MemoryKind, tmp_path: Path):
    lib = load_library()
    with Model(make_tiny_memory(tmp_path / "m.gguf", kind)) as model:
        assert lib.llama_model_is_recurrent(model.handle) == (kind == "recurrent")
        assert lib.llama_model_is_hybrid(model.handle) == (kind in ("snapshots", "convolution", "hybrid"))
        assert lib.llama_model_n_swa(model.handle) == (32 if kind == "window" else 0)
