"""How long a context is where nobody says, and what is said of a length or a cache that suits a model badly."""

import logging
from pathlib import Path
from typing import Any

import pytest

from edgespec.catalog.gguf_header import TensorInfo
from edgespec.catalog.metadata import GgufMetadata
from edgespec.catalog.model_file import ModelFile
from edgespec.llama.devices import Device
from edgespec.llama.kv_types import KvType
from edgespec.session import EngineSettings, context_choice, open_pair
from edgespec.session.context_choice import cautions, choose_n_ctx
from tests.tiny import TinyShape, make_tiny_model

MIB, GIB = 1 << 20, 1 << 30
PER_TOKEN = 9 << 10
"""Bytes of `model`: 8 KiB of cache, and 1 KiB of mask in a batch of 512 rows."""


def model(trained: int, weights_bytes: int = 0, *, bias: bool = False) -> ModelFile:
    """Eight blocks with a KV head of 256."""
    fields: dict[str, Any] = {
        "block_count": 8,
        "context_length": trained,
        "embedding_length": 256,
        "attention.head_count": 1,
    }
    known: dict[str, object] = {"general.architecture": "llama"}
    known |= {f"llama.{name}": value for name, value in fields.items()}
    names = ["output.weight", *(["blk.0.attn_k.bias"] if bias else [])]
    tensors = tuple(TensorInfo(name, (32, 1), "F32", weights_bytes // len(names), 0) for name in names)
    return ModelFile("m", Path("m.gguf"), GgufMetadata(Path("m.gguf"), 3, known, tensors, 32, 0, 0))


def with_free(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    monkeypatch.setattr(context_choice, "available_memory_bytes", lambda: n_bytes)


@pytest.mark.parametrize(
    ("trained", "asked", "n_ctx"),
    [
        (512, 0, 512),
        (512, 1024, 1024),
        (131072, 100, 100),
        (8192, 0, 8192),
        # 256 MiB hold 29127 tokens.
        (16384, 0, 16384),
        (131072, 0, 16384),
        (100_000, 0, 25_000),
    ],
)
def test_the_context_is_what_was_asked_or_what_was_trained_as_far_as_its_cache_is_small(
    trained: int, asked: int, n_ctx: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free(monkeypatch, 64 * GIB)
    assert choose_n_ctx(model(trained), EngineSettings(n_ctx=asked)) == n_ctx


def test_beside_many_weights_a_cache_may_be_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(monkeypatch, 64 * GIB)
    large = model(131072, 4 * GIB)
    assert 65536 * PER_TOKEN < GIB < 131072 * PER_TOKEN
    assert choose_n_ctx(large, EngineSettings()) == 65536
    small_types = EngineSettings(kv_type_k=KvType.Q8_0, kv_type_v=KvType.Q4_0)
    assert choose_n_ctx(large, small_types) == 131072


def test_a_draft_shares_what_there_is_for_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(monkeypatch, 64 * GIB)
    assert choose_n_ctx(model(16384), EngineSettings(), [model(512)]) == 8192


@pytest.mark.parametrize(("free", "n_ctx"), [(GIB, 8192), (512 * MIB, 4096), (0, 4096)])
def test_little_free_memory_keeps_the_context_short(
    free: int, n_ctx: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free(monkeypatch, free)
    assert choose_n_ctx(model(131072), EngineSettings()) == n_ctx


def test_a_longer_context_pushes_no_layer_off_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(monkeypatch, 64 * GIB)
    weights = 900 * MIB
    card = Device("GPU0", "A card", "gpu", 512 * MIB + weights + 5000 * PER_TOKEN, 8 * GIB)
    assert choose_n_ctx(model(16384, weights), EngineSettings(), devices=(card,)) == 4096
    here = EngineSettings(kv_offload=False)
    assert choose_n_ctx(model(16384, weights), here, devices=(card,)) == 16384
    roomy = Device("GPU0", "A card", "gpu", 8 * GIB, 8 * GIB)
    assert choose_n_ctx(model(16384, weights), EngineSettings(), devices=(roomy,)) == 16384


def test_a_pair_is_opened_with_what_was_trained(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "model.gguf", shape=TinyShape(context=6000))
    with open_pair(path, "none") as session:
        assert session.engine.target.context.n_ctx == 6144
        assert session.engine.settings.n_ctx == 6000


# What is said


@pytest.mark.parametrize("kind", [KvType.Q4_0, KvType.Q4_1, KvType.Q5_0, KvType.IQ4_NL])
def test_small_keys_of_a_model_with_biased_keys_are_warned_of(kind: KvType) -> None:
    settings = EngineSettings(kv_type_k=kind)
    assert cautions(model(512, bias=True), settings, is_target=False) == [
        f"m has biased keys, which `kv_type_k` {kind.name.lower()} spoils: keep f16 or q8_0"
    ]
    assert cautions(model(512), settings, is_target=True) == []


def test_values_and_eight_bits_are_not_warned_of() -> None:
    settings = EngineSettings(kv_type_k=KvType.Q8_0, kv_type_v=KvType.Q4_0)
    assert cautions(model(512, bias=True), settings, is_target=True) == []


def test_a_context_beyond_what_was_trained_is_said_in_the_log_and_to_the_app(
    tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = "tiny was trained with 512 tokens: in the 1024 of `ctx_size` its text may fall apart"
    with (
        caplog.at_level(logging.WARNING, "edgespec"),
        open_pair(tiny_model, "none", settings=EngineSettings(n_ctx=1024)) as session,
    ):
        assert session.engine.cautions() == [said]
    assert [record.getMessage() for record in caplog.records] == [said]
    caplog.clear()
    with open_pair(tiny_model, "none", settings=EngineSettings(n_ctx=512)) as session:
        assert session.engine.cautions() == []
    assert caplog.records == []
