"""Ctrl-C while llama.cpp works: it stops within the batch, and other programs keep their own handlers."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgespec.llama.context import Context
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from tests.llama.engines import assert_close, fresh_logits, settings


@pytest.fixture(autouse=True)
def own_handlers_end_with_the_test() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def ctrl_c_in_first_decode(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sends Ctrl-C just before the first evaluation; the value lists what the evaluations returned."""
    lib, codes = load_library(), list[int]()
    decode = lib.llama_decode

    def interrupted(handle: Any, batch: Any) -> int:
        if not codes:
            signal.raise_signal(signal.SIGINT)
        codes.append(decode(handle, batch))
        return codes[-1]

    monkeypatch.setattr(lib, "llama_decode", interrupted)
    return codes


def test_a_signal_is_held_until_the_block_ends():
    reached = False
    with pytest.raises(KeyboardInterrupt), HeldInterrupts() as held:
        assert not held.pending
        signal.raise_signal(signal.SIGINT)
        assert held.pending
        reached = True
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_signal_nothing_happens_and_the_handler_is_back():
    with HeldInterrupts() as held:
        assert held.watching
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_block_gives_way_to_the_signal():
    with pytest.raises(KeyboardInterrupt) as caught, HeldInterrupts():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("stopped half-way")
    assert isinstance(caught.value.__context__, ValueError)


def test_only_the_outer_of_two_blocks_holds():
    with pytest.raises(KeyboardInterrupt), HeldInterrupts() as outer:
        with HeldInterrupts() as inner:
            signal.raise_signal(signal.SIGINT)
        assert (outer.pending, inner.pending, inner.watching) == (True, False, False)


def test_a_program_with_a_handler_of_its_own_keeps_it():
    handled: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: handled.append(number))
    with HeldInterrupts() as held:
        signal.raise_signal(signal.SIGINT)
    assert handled == [signal.SIGINT]
    assert not held.watching


def test_another_thread_leaves_signals_alone():
    seen: list[bool] = []

    def work() -> None:
        with HeldInterrupts() as held:
            seen.append(held.watching)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_ctrl_c_aborts_the_running_batch_of_a_prompt(
    context: Context, ctrl_c_in_first_decode: list[int], tiny_model: Path
):
    with pytest.raises(KeyboardInterrupt):
        context.prefill([5] * 200)
    assert ctrl_c_in_first_decode == [2], "llama.cpp itself says that it was aborted"
    assert context.tokens == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    context.prefill([5, 6, 7])
    assert_close(context.logits(1)[0], fresh_logits(tiny_model, [5, 6, 7])[-1])


def test_where_a_batch_cannot_be_aborted_the_next_one_is_not_begun(
    model: Model, ctrl_c_in_first_decode: list[int], monkeypatch: pytest.MonkeyPatch
):
    """Accelerators other than Metal have no abort callback."""
    monkeypatch.setattr(load_library(), "llama_set_abort_callback", lambda *_: None)
    with Context(model, settings(n_batch=32)) as context:
        with pytest.raises(KeyboardInterrupt):
            context.prefill([5] * 200)
        assert ctrl_c_in_first_decode == [0]
        assert context.tokens == [5] * 32


def test_a_prompt_is_read_to_its_end_in_a_program_with_its_own_handler(
    model: Model, ctrl_c_in_first_decode: list[int]
):
    handled: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: handled.append(number))
    with Context(model, settings(n_batch=32)) as context:
        context.prefill([5] * 100)
        assert context.n_past == 100
    assert ctrl_c_in_first_decode == [0, 0, 0, 0]
    assert handled == [signal.SIGINT]


def test_a_prompt_can_be_read_in_another_thread(context: Context):
    thread = threading.Thread(target=context.prefill, args=([5] * 100,))
    thread.start()
    thread.join()
    assert context.n_past == 100
