"""How a context is made and closed, and what it is made with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgespec.llama.native_context
from edgespec.errors import EngineError, NotEnoughMemoryError, UsageError
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.kv_types import KvType
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from tests.llama.engines import TEXT, fresh_logits, settings
from tests.tiny import TinyShape, make_tiny_model


def test_closing_twice_frees_once(model: Model, monkeypatch: pytest.MonkeyPatch):
    lib, freed = load_library(), []
    monkeypatch.setattr(lib, "llama_free", counting(lib.llama_free, "llama_free", freed))
    context = Context(model, settings())
    context.close()
    context.close()
    assert freed == ["llama_free"]
    assert context.handle is None


def test_a_closed_context_is_an_error_and_not_a_crash(model: Model):
    context = Context(model, settings())
    context.decode([5, 6, 7])
    context.close()
    for work in (
        lambda: context.decode([5]),
        lambda: context.prefill([5]),
        lambda: context.rollback(1),
        context.logits,
        context.clear,
    ):
        with pytest.raises(EngineError, match=r"the context of tiny\.gguf is closed"):
            work()


def counting(function: Callable[..., Any], name: str, calls: list[str]) -> Callable[..., Any]:
    def count(argument: Any) -> None:
        calls.append(name)
        function(argument)

    return count


def test_the_settings_are_passed_down(model: Model, monkeypatch: pytest.MonkeyPatch):
    seen: list[Any] = []
    monkeypatch.setattr(load_library(), "llama_init_from_model", lambda _model, params: seen.append(params))
    wanted = ContextSettings(
        n_ctx=512,
        n_threads=3,
        n_outputs_max=5,
        n_batch=64,
        type_k=KvType.Q8_0,
        type_v=KvType.Q4_0,
        flash_attention="on",
    )
    with pytest.raises(NotEnoughMemoryError):
        Context(model, wanted)
    (params,) = seen
    assert (params.n_ctx, params.n_batch, params.n_ubatch, params.n_outputs_max) == (512, 64, 64, 5)
    assert (params.n_threads, params.n_threads_batch) == (3, 3)
    assert (params.type_k, params.type_v, params.flash_attn_type) == (8, 2, 1)
    assert params.swa_full


@pytest.mark.parametrize(("word", "number"), [("auto", -1), ("off", 0), ("on", 1)])
def test_flash_attention_has_llama_cpps_numbers(
    model: Model, monkeypatch: pytest.MonkeyPatch, word: Any, number: int
):
    seen: list[int] = []
    monkeypatch.setattr(
        load_library(), "llama_init_from_model", lambda _model, params: seen.append(params.flash_attn_type)
    )
    with pytest.raises(NotEnoughMemoryError):
        Context(model, settings(flash_attention=word))
    assert seen == [number]


@pytest.mark.parametrize(("attention", "least", "most"), [("off", 1e-9, 0.5), ("on", 0.0, 0.5)])
def test_flash_attention_on_or_off_gives_nearly_the_same_logits(
    tokens: list[int], tiny_model: Path, attention: str, least: float, most: float
):
    usual = fresh_logits(tiny_model, tokens, flash_attention="on")
    other = fresh_logits(tiny_model, tokens, flash_attention=attention)
    assert least <= float(np.abs(usual - other).max()) <= most


@pytest.mark.parametrize("name", ["f32", "F16", "bf16", "q8_0", "Q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"])
def test_kv_types_are_known_in_any_case(name: str):
    import gguf

    kind = KvType.parse(name)
    expected = gguf.GGMLQuantizationType[name.upper()]
    assert kind == expected
    elements, size_bytes = gguf.GGML_QUANT_SIZES[expected]
    assert kind.bytes_per_element == size_bytes / elements


def test_an_unknown_kv_type_names_the_known_ones():
    with pytest.raises(UsageError) as caught:
        KvType.parse("q3_k")
    assert caught.value.message == "'q3_k' is not a KV cache type"
    assert caught.value.hint == "choose one of f32, f16, q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, bf16"


def test_a_quantized_cache_works_and_is_a_little_off(tmp_path: Path):
    path = make_tiny_model(tmp_path / "heads.gguf", shape=TinyShape(heads=2, kv_heads=1))
    with Model(path) as model:
        tokens = model.tokenize(TEXT)
    plain = fresh_logits(path, tokens)
    quantized = fresh_logits(path, tokens, type_k=KvType.Q8_0, type_v=KvType.Q8_0)
    assert 1e-4 < float(np.abs(plain - quantized).max()) < 1.0


@pytest.mark.parametrize(
    ("kind", "attention", "words"),
    [
        (KvType.Q8_0, "off", "quantized V cache requires flash_attn to be enabled"),
        (KvType.Q4_0, "on", "block size 32 does not divide n_embd_head_k=16"),
    ],
)
def test_a_cache_that_the_model_cannot_have_is_wrong_usage(
    model: Model, kind: KvType, attention: Any, words: str
):
    with pytest.raises(UsageError) as caught:
        Context(model, settings(type_k=kind, type_v=kind, flash_attention=attention))
    start = f"tiny.gguf cannot run with `kv_type` {kind.name.lower()} `flash_attn` {attention}: "
    assert caught.value.message.startswith(start)
    assert words in caught.value.message
    assert caught.value.hint == "use `kv_type` f16"


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        ("failed to allocate buffer for kv cache", NotEnoughMemoryError, 4),
        ("std::bad_alloc", NotEnoughMemoryError, 4),
        ("unknown pooling type", EngineError, 1),
    ],
)
def test_the_error_of_a_context_that_cannot_be_made_follows_llama_cpps_words(
    model: Model, monkeypatch: pytest.MonkeyPatch, said: str, kind: type[Exception], code: int
):
    monkeypatch.setattr(load_library(), "llama_init_from_model", lambda _model, _params: None)
    words = ["", said]
    monkeypatch.setattr(edgespec.llama.native_context, "take_native_errors", lambda: words.pop(0))
    with pytest.raises(kind, match=f"tiny.gguf: {said}") as caught:
        Context(model, settings())
    assert caught.value.exit_code == code


def test_a_draft_context_keeps_one_row_of_logits(model: Model):
    with Context(model, settings(n_outputs_max=1)) as context:
        context.decode([5, 6, 7], outputs=1)
        assert context.logits(1).shape == (1, model.n_vocab)


@pytest.mark.parametrize(("rows", "outputs"), [(0, 1), (3, 0), (3, 4), (17, 17), (33, 1)])
def test_a_batch_that_llama_cpp_would_abort_on_is_an_error(model: Model, rows: int, outputs: int):
    with Context(model, settings(n_batch=32)) as context:
        context.decode([5])
        with pytest.raises(EngineError, match=f"{rows} rows with {outputs} outputs are not a batch"):
            context.decode([6] * rows, outputs=outputs)
        context.decode([7] * 32, outputs=16)
        assert context.tokens == [5] + [7] * 32
