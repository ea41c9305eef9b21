"""The KV cache: what it holds after decoding, rolling back, padding, failing and being interrupted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgespec.errors import ContextOverflowError, EngineError
from edgespec.llama.context import Context, top_two_gap
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from tests.llama.engines import assert_close, fresh_logits, settings
from tests.tiny import TinyShape, make_tiny_model


def rows_in_memory(context: Context) -> int:
    """What llama.cpp itself says that the cache holds."""
    lib = load_library()
    return int(lib.llama_memory_seq_pos_max(lib.llama_get_memory(context.handle), 0)) + 1


# Logits


def test_logits_are_a_view_of_llama_cpps_own_memory(context: Context, tokens: list[int]):
    context.decode(tokens, outputs=4)
    first, again = context.logits(4), context.logits(4)
    assert first.shape == (4, context.model.n_vocab)
    assert first.dtype == np.float32
    assert not first.flags.owndata
    assert np.shares_memory(first, again)
    before = first.copy()
    context.decode(tokens[:4], outputs=4)
    assert np.shares_memory(first, context.logits(4))
    assert not np.array_equal(first, before)


def test_each_row_has_the_logits_of_its_own_prefix(context: Context, tokens: list[int], tiny_model: Path):
    context.decode(tokens[:8], outputs=3)
    rows = context.logits(3).copy()
    assert context.n_outputs == 3
    for place, row in enumerate(rows):
        assert_close(row, fresh_logits(tiny_model, tokens[: 6 + place])[-1])


def test_one_output_is_the_last_token(context: Context, tokens: list[int], tiny_model: Path):
    context.decode(tokens[:8])
    assert_close(context.logits(1)[0], fresh_logits(tiny_model, tokens[:8])[-1])


def test_the_prompt_in_many_batches_is_the_prompt_in_one(model: Model, tokens: list[int], tiny_model: Path):
    with Context(model, settings(n_batch=8)) as context:
        context.prefill(tokens)
        assert context.tokens == tokens
        assert len(tokens) > 16
        assert_close(context.logits(1)[0], fresh_logits(tiny_model, tokens)[-1])


def test_a_missing_logits_buffer_is_an_error(context: Context, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(load_library(), "llama_get_logits", lambda _handle: None)
    with pytest.raises(EngineError, match="returned no logits"):
        context.logits(1)


def test_the_gap_is_best_minus_second_best_and_changes_nothing():
    row = np.array([1.0, 7.5, -3.0, 5.25], dtype=np.float32)
    assert top_two_gap(row, 1) == 2.25
    assert row.tolist() == [1.0, 7.5, -3.0, 5.25]
    assert top_two_gap(np.array([4.0], dtype=np.float32), 0) == float("inf")


# Taking tokens back


@pytest.mark.parametrize("kept", [1, 5, 11])
def test_after_a_rollback_other_tokens_give_what_a_fresh_context_gives(
    context: Context, tokens: list[int], tiny_model: Path, kept: int
):
    context.decode(tokens[:12], outputs=12)
    context.rollback(kept)
    assert context.tokens == tokens[:kept]
    assert rows_in_memory(context) == kept
    other = [20, 21, 22, 23]
    context.decode(other, outputs=4)
    assert_close(context.logits(4), fresh_logits(tiny_model, other, prefix=tokens[:kept]))


def test_rolling_back_to_the_end_or_beyond_changes_nothing(context: Context, tokens: list[int]):
    context.decode(tokens[:6])
    context.rollback(6)
    context.rollback(99)
    assert context.tokens == tokens[:6]
    assert rows_in_memory(context) == 6


@pytest.mark.parametrize("forget", [Context.clear, lambda context: context.rollback(0)])
def test_a_cleared_context_is_as_new(
    context: Context, tokens: list[int], tiny_model: Path, forget: Callable[[Context], None]
):
    context.decode(tokens[:9])
    forget(context)
    assert (context.n_past, context.free_tokens, rows_in_memory(context)) == (0, 256, 0)
    context.decode(tokens[3:9])
    assert_close(context.logits(1)[0], fresh_logits(tiny_model, tokens[3:9])[-1])


def test_a_memory_that_cannot_forget_is_an_error(
    context: Context, tokens: list[int], monkeypatch: pytest.MonkeyPatch
):
    context.decode(tokens[:6])
    monkeypatch.setattr(load_library(), "llama_memory_seq_rm", lambda *_: False)
    with pytest.raises(EngineError, match=r"tiny\.gguf cannot take tokens back") as caught:
        context.rollback(3)
    assert "`draft` none" in caught.value.hint


# Copies


@pytest.mark.parametrize("n_ctx", [256, 512])
def test_a_saved_cache_goes_on_in_another_context(
    context: Context, tokens: list[int], tiny_model: Path, n_ctx: int
):
    context.prefill(tokens[:9])
    saved = context.save()
    context.decode([3])
    with Model(tiny_model) as model, Context(model, settings(n_ctx=n_ctx)) as other:
        other.prefill([5, 6, 7])
        other.restore(saved)
        assert (other.tokens, rows_in_memory(other)) == (tokens[:9], 9)
        other.decode(tokens[9:12], outputs=1)
        assert_close(other.logits(1)[0], fresh_logits(tiny_model, tokens[:12])[-1])
    assert context.tokens == [*tokens[:9], 3]


def test_a_cache_larger_than_the_context_is_refused(model: Model):
    with Context(model, settings(n_ctx=512)) as large, Context(model, settings()) as small:
        large.prefill([5] * 300)
        with pytest.raises(ContextOverflowError, match="300 tokens do not fit a context of 256"):
            small.restore(large.save())
        assert (small.tokens, rows_in_memory(small)) == ([], 0)


def test_another_models_cache_is_refused(context: Context, tokens: list[int], tmp_path: Path):
    context.prefill(tokens[:9])
    deeper = make_tiny_model(tmp_path / "deeper.gguf", shape=TinyShape(blocks=3))
    with Model(deeper) as model, Context(model, settings()) as other:
        with pytest.raises(EngineError, match="cannot restore a cache"):
            other.restore(context.save())
        assert other.tokens == []
        other.decode([1])


# Padding


def test_padding_rows_leave_no_trace(context: Context, tokens: list[int], tiny_model: Path):
    context.decode(tokens[:5])
    context.decode(tokens[5:8], outputs=3, pad_to=8)
    assert_close(context.logits(3), fresh_logits(tiny_model, tokens[5:8], prefix=tokens[:5]))
    assert context.tokens == tokens[:8]
    assert rows_in_memory(context) == 8
    context.decode(tokens[8:12], outputs=4)
    assert_close(context.logits(4), fresh_logits(tiny_model, tokens[8:12], prefix=tokens[:8]))


@pytest.mark.parametrize(("pad_to", "rows"), [(0, 3), (2, 3), (3, 3), (4, 4), (16, 16)])
def test_a_batch_has_as_many_rows_as_it_is_padded_to(
    context: Context, monkeypatch: pytest.MonkeyPatch, pad_to: int, rows: int
):
    assert rows_decoded(monkeypatch, lambda: context.decode([5, 6, 7], outputs=3, pad_to=pad_to)) == [rows]


def test_padding_is_left_out_where_it_does_not_fit(context: Context, monkeypatch: pytest.MonkeyPatch):
    context.decode([5] * 251)
    assert rows_decoded(monkeypatch, lambda: context.decode([5, 6, 7], outputs=3, pad_to=8)) == [3]
    assert rows_in_memory(context) == 254


def rows_decoded(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> list[int]:
    lib, rows = load_library(), []
    decode = lib.llama_decode

    def count(handle: Any, batch: Any) -> int:
        rows.append(batch.n_tokens)
        return int(decode(handle, batch))

    monkeypatch.setattr(lib, "llama_decode", count)
    work()
    return rows


# The end of the context


def test_tokens_beyond_the_context_are_refused_and_nothing_is_evaluated(context: Context):
    context.decode([5] * 250)
    with pytest.raises(ContextOverflowError) as caught:
        context.decode([5] * 7)
    assert caught.value.message == "257 tokens do not fit a context of 256"
    assert caught.value.hint == "use a larger `ctx_size` or a shorter prompt"
    assert context.n_past == rows_in_memory(context) == 250
    context.decode([5] * 6)
    assert context.free_tokens == 0


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused_before_it_is_read(
    context: Context, monkeypatch: pytest.MonkeyPatch
):
    def overflow() -> None:
        with pytest.raises(ContextOverflowError, match="the prompt has 256 tokens and the context 256"):
            context.prefill([5] * 256)

    assert rows_decoded(monkeypatch, overflow) == []
    assert context.n_past == 0


def test_the_longest_prompt_leaves_room_for_one_token(context: Context):
    context.prefill([5] * 255)
    assert context.free_tokens == 1


# Failures of llama_decode


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (1, ContextOverflowError, "no room for 3 more tokens in a context of 256"),
        (2, EngineError, "the evaluation was stopped"),
        (-1, EngineError, "llama_decode failed with code -1 on 3 rows: no reason given"),
        (-3, EngineError, "llama_decode failed with code -3 on 3 rows: no reason given"),
    ],
)
def test_every_return_code_is_an_error_and_the_cache_is_as_before(
    context: Context,
    tokens: list[int],
    tiny_model: Path,
    code: int,
    kind: type[Exception],
    message: str,
):
    context.decode(tokens[:6])
    lib = load_library()
    decode = lib.llama_decode

    def evaluate_and_fail(handle: Any, batch: Any) -> int:
        decode(handle, batch)
        return code

    with pytest.MonkeyPatch.context() as patch, pytest.raises(kind) as caught:
        patch.setattr(lib, "llama_decode", evaluate_and_fail)
        context.decode([20, 21, 22], outputs=3)
    assert type(caught.value) is kind
    assert caught.value.message == message
    assert context.tokens == tokens[:6]
    assert rows_in_memory(context) == 6
    context.decode(tokens[6:9], outputs=3)
    assert_close(context.logits(3), fresh_logits(tiny_model, tokens[6:9], prefix=tokens[:6]))


def test_llama_cpps_own_words_are_in_the_error(context: Context):
    with pytest.raises(EngineError, match=r"failed with code -1 on 2 rows: .*invalid token") as caught:
        context.decode([5, 999_999])
    assert context.tokens == []
    assert caught.value.exit_code == 1


# Interruptions


def test_ctrl_c_after_an_evaluation_leaves_a_context_that_can_go_on(
    context: Context, tokens: list[int], tiny_model: Path
):
    """The exception comes out of llama_decode's call, when the rows are in the cache and not yet in `tokens`."""
    context.decode(tokens[:6])
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, "llama_decode")
        with pytest.raises(KeyboardInterrupt):
            context.decode([20, 21, 22])
    assert context.tokens == tokens[:6]
    context.decode(tokens[6:9], outputs=3)
    assert context.tokens == tokens[:9]
    assert_close(context.logits(3), fresh_logits(tiny_model, tokens[6:9], prefix=tokens[:6]))


@pytest.mark.parametrize("kept", [0, 4])
def test_ctrl_c_inside_a_rollback_leaves_a_context_that_can_go_on(
    context: Context, tokens: list[int], tiny_model: Path, kept: int
):
    context.decode(tokens[:12])
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, "llama_memory_seq_rm", "llama_memory_clear")
        with pytest.raises(KeyboardInterrupt):
            context.rollback(kept)
    assert context.tokens == tokens[:kept]
    context.decode([20, 21, 22], outputs=3)
    assert_close(context.logits(3), fresh_logits(tiny_model, [20, 21, 22], prefix=tokens[:kept]))


def test_ctrl_c_while_a_context_is_made_frees_it(
    model: Model, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    import signal

    from edgespec.llama.library import native_log

    freed: list[Any] = []
    lib = load_library()
    free = lib.llama_free
    monkeypatch.setattr(lib, "llama_free", lambda handle: (freed.append(handle), free(handle)))
    lines: list[str] = []

    def interrupt_once(level: int, line: str) -> None:
        lines.append(line)
        if len(lines) == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(native_log, "log", interrupt_once)
    with pytest.raises(KeyboardInterrupt):
        Context(model, settings())
    assert len(freed) == 1
    assert capfd.readouterr() == ("", "")


def interrupt_after(patch: pytest.MonkeyPatch, *functions: str) -> None:
    """The named functions do their work and end as they do when a signal came meanwhile."""
    lib = load_library()

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def interrupted(*arguments: Any) -> Any:
            function(*arguments)
            raise KeyboardInterrupt

        return interrupted

    for name in functions:
        patch.setattr(lib, name, wrap(getattr(lib, name)))
