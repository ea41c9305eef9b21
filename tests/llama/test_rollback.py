"""Taking tokens back on every kind of memory: the text after it is that of a context that never saw them."""

import os
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest

from edgespec.errors import EngineError
from edgespec.kv_cells import window_cells
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.kv_types import KvType
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from edgespec.llama.rollback import Way
from tests.decode.real import random_tokens
from tests.tiny_memories import ARCHITECTURES, WINDOW, MemoryKind, make_tiny_memory

ROUNDS = int(os.environ.get("ROLLBACK_ROUNDS", "60"))
"""Of each kind of memory and way to make a context."""
K = 7
NOISE = 0.02
"""Logits have a standard deviation of 3; 10,500 rounds came to 0.003 at most (gemma3), the others to 0.0005, and a wrong state moves them by 0.3 and more."""
WAYS: dict[MemoryKind, Way] = {
    "plain": Way.CELLS,
    "experts": Way.CELLS,
    "window": Way.WINDOW,
    "snapshots": Way.SNAPSHOTS,
    "convolution": Way.SNAPSHOTS,
    "recurrent": Way.CHECKPOINTS,
    "hybrid": Way.CHECKPOINTS,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "usual": {"n_snapshots": K},
    "bare": {},
    "short": {"n_snapshots": K, "full_window": False},
}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def kind(request: pytest.FixtureRequest) -> MemoryKind:
    found: MemoryKind = request.param
    return found


def with_memory(way: Way) -> pytest.MarkDecorator:
    """Runs a test on the models alone whose memory goes back that way."""
    return pytest.mark.parametrize(
        "kind", [kind for kind in ARCHITECTURES if WAYS[kind] is way], indirect=True, scope="module"
    )


@pytest.fixture(scope="module")
def model(kind: MemoryKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with Model(make_tiny_memory(tmp_path_factory.mktemp("memories") / f"{kind}.gguf", kind)) as loaded:
        yield loaded


def open_context(model: Model, **changes: Any) -> Context:
    """Without flash attention, which rounds to 16 bits: then logits do not depend on how a text is cut."""
    usual = {"n_ctx": 512, "n_threads": 1, "n_outputs_max": 16, "n_batch": 32, "flash_attention": "off"}
    return Context(model, ContextSettings(**{**usual, "type_k": KvType.F32, "type_v": KvType.F32, **changes}))


class Reader:
    """A context that never goes back: it reads every text anew."""

    def __init__(self, model: Model) -> None:
        self._context = open_context(model)

    def assert_same(self, context: Context, text: Sequence[int], what: object = "") -> None:
        """That a context has the logits of this text, after reading what `context` lacks of it."""
        assert context.tokens == list(text), what
        self._context.clear()
        self._context.prefill(text)
        difference = float(np.abs(context.logits(context.n_outputs)[-1] - self._context.logits(1)[0]).max())
        assert difference < NOISE, (what, difference)

    def close(self) -> None:
        self._context.close()


@pytest.fixture(scope="module")
def reader(model: Model) -> Iterator[Reader]:
    made = Reader(model)
    yield made
    made.close()


def test_a_context_knows_how_its_memory_goes_back(kind: MemoryKind, model: Model):
    with open_context(model, n_snapshots=K) as context:
        assert context.abilities.way is WAYS[kind]
        assert context.abilities.most_drafted == (K if WAYS[kind] is Way.SNAPSHOTS else None)
    with open_context(model) as context:
        bare = Way.CHECKPOINTS if WAYS[kind] is Way.SNAPSHOTS else WAYS[kind]
        assert context.abilities.way is bare


@pytest.mark.parametrize("variant", VARIANTS)
def test_random_rounds_end_where_a_fresh_context_is(model: Model, reader: Reader, variant: str):
    """Rounds of draft and reject, turns that end, stops, regenerated answers and edited questions, in any order."""
    random = Random(variant)
    with open_context(model, **VARIANTS[variant]) as context:
        text: list[int] = []
        for number in range(ROUNDS):
            what = random.choice(["draft"] * 8 + ["steps", "turn", "regenerate", "edit", "stop"])
            if len(text) > 400 or not text:
                what = "edit"
            text = ROUND[what](context, text, random)
            reader.assert_same(context, text, (variant, number, what))


def draft(context: Context, text: list[int], random: Random) -> list[int]:
    """A verification of which some is kept, and the next token."""
    rows = [random.randrange(3, 250) for _ in range(1 + random.randrange(0, 12))]
    context.mark(len(rows))
    context.decode(rows, outputs=len(rows))
    kept = random.randrange(1, len(rows) + 1)
    context.rollback(len(text) + kept)
    last = random.randrange(3, 250)
    context.decode([last])
    return [*text, *rows[:kept], last]


def steps(context: Context, text: list[int], random: Random) -> list[int]:
    """Guesses of a draft model, one row each, of which some hold."""
    context.mark(None)
    guesses = [random.randrange(3, 250) for _ in range(random.randrange(1, 6))]
    for guess in guesses:
        context.decode([guess])
    kept = random.randrange(0, len(guesses))
    context.rollback(len(text) + kept)
    last = random.randrange(3, 250)
    context.decode([last])
    return [*text, *guesses[:kept], last]


def turn(context: Context, text: list[int], random: Random) -> list[int]:
    """The end of a turn, and the next question."""
    context.keep()
    return more(context, text, random)


def more(context: Context, text: list[int], random: Random) -> list[int]:
    question = [random.randrange(3, 250) for _ in range(random.randrange(1, 70))]
    context.prefill(question)
    return [*text, *question]


def regenerate(context: Context, text: list[int], random: Random) -> list[int]:
    """Back to somewhere, by much or little."""
    kept = random.randrange(1, len(text) + 1)
    context.rollback(kept)
    return more(context, text[:kept], random)


def edit(context: Context, text: list[int], random: Random) -> list[int]:
    """Another conversation."""
    context.rollback(0)
    return more(context, [], random)


def stop(context: Context, text: list[int], random: Random) -> list[int]:
    """A decode that was ended inside: nothing of it counts."""
    lib = load_library()
    decode = lib.llama_decode

    def evaluate_and_fail(handle: Any, batch: Any) -> int:
        decode(handle, batch)
        return 2

    with pytest.MonkeyPatch.context() as patch, pytest.raises(EngineError, match="was stopped"):
        patch.setattr(lib, "llama_decode", evaluate_and_fail)
        context.decode([random.randrange(3, 250) for _ in range(random.randrange(1, 8))])
    return more(context, text, random)


ROUND = {
    "draft": draft,
    "steps": steps,
    "turn": turn,
    "regenerate": regenerate,
    "edit": edit,
    "stop": stop,
}


def test_what_is_not_held_is_said_and_read_again_with_the_next_rows(
    kind: MemoryKind, model: Model, reader: Reader
):
    text = random_tokens(3, 40)
    with open_context(model) as context:
        context.prefill(text)
        context.mark(8)
        context.decode([5, 6, 7, 8], outputs=4)
        replays = WAYS[kind] in (Way.SNAPSHOTS, Way.CHECKPOINTS)
        assert context.reach(42) == (40 if replays else 42)
        context.rollback(42)
        assert context.n_unread == (2 if replays else 0)
        assert context.decode([9]) == (3 if replays else 1)
        assert context.n_unread == 0
        reader.assert_same(context, [*text, 5, 6, 9])


@with_memory(Way.SNAPSHOTS)
def test_snapshots_are_used_once_and_no_further_than_they_reach(model: Model, reader: Reader):
    """llama.cpp would say True to most of these, and go on with another text."""
    text = random_tokens(4, 40)
    with open_context(model, n_snapshots=K) as context:
        context.prefill(text[:30])
        context.decode(text[30:], outputs=10)
        assert context.reach(33) == 33
        assert context.reach(32) == 0  # further than there are snapshots
        context.rollback(36)
        assert context.reach(35) == 0  # a second time
        context.decode([9])
        assert context.reach(36) == 0  # a whole decode
        context.decode([10])
        assert context.reach(37) == 0  # after single rows
        context.restore(context.save())
        assert context.reach(37) == 0  # a restored state has no snapshots
        context.rollback(37)
        context.decode([11])
        reader.assert_same(context, [*text[:36], 9, 11])


@with_memory(Way.WINDOW)
def test_a_short_window_goes_back_as_far_as_all_of_it_is_there(model: Model, reader: Reader):
    """llama.cpp says True to any removal: beyond the window it goes on with another text."""
    text = random_tokens(5, 450)
    with open_context(model, full_window=False) as context:
        context.prefill(text)
        lib = load_library()
        first = lib.llama_memory_seq_pos_min(lib.llama_get_memory(context.handle), 0)
        assert first > 0
        nearest = first + WINDOW - 1
        assert context.reach(nearest) == nearest
        assert context.reach(nearest - 1) == 0
        context.rollback(nearest - 1)
        context.decode([9])
        reader.assert_same(context, [*text[: nearest - 1], 9])


def test_a_short_window_has_cells_for_what_it_sees_and_a_batch():
    assert window_cells(4096, 512, 512) == 1024
    assert window_cells(4096, 1024, 512) == 1536
    assert window_cells(512, 1024, 512) == 512
    assert window_cells(4096, 512, 512, n_sequences=4) == 2560


def test_a_turn_that_was_kept_is_come_back_to_without_reading_it_again(
    kind: MemoryKind, model: Model, reader: Reader
):
    question, answer = random_tokens(6, 60), random_tokens(7, 300)
    with open_context(model, n_snapshots=K, full_window=False) as context:
        context.prefill(question)
        context.keep()
        context.prefill(answer)
        context.rollback(61)
        assert context.n_unread == (0 if WAYS[kind] is Way.CELLS else 1)
        context.decode([9])
        reader.assert_same(context, [*question, answer[0], 9])


def test_a_prompt_that_was_stopped_is_kept_as_far_as_it_was_read(
    kind: MemoryKind, model: Model, reader: Reader, monkeypatch: pytest.MonkeyPatch
):
    text = random_tokens(8, 90)
    lib = load_library()
    decode, seen = lib.llama_decode, 0

    def stop_the_second(handle: Any, batch: Any) -> int:
        nonlocal seen
        seen += 1
        return 2 if decode(handle, batch) or seen == 2 else 0

    with open_context(model) as context:
        with monkeypatch.context() as patch, pytest.raises(EngineError, match="was stopped"):
            patch.setattr(lib, "llama_decode", stop_the_second)
            context.prefill(text)
        assert context.tokens == text[:32]
        assert context.n_unread == 0
        other = random_tokens(9, 20)
        context.rollback(10)
        context.prefill(other)
        reader.assert_same(context, [*text[:10], *other])


def test_an_answer_that_the_memory_refuses_is_an_error_and_no_text(
    model: Model, monkeypatch: pytest.MonkeyPatch
):
    with open_context(model, n_snapshots=K) as context:
        context.prefill(random_tokens(1, 20))
        context.mark(4)
        context.decode([5, 6, 7, 8])
        monkeypatch.setattr(load_library(), "llama_memory_seq_rm", lambda *_: False)
        with pytest.raises(EngineError, match="cannot take tokens back"):
            context.rollback(22)


def test_the_longest_history_is_read_again_in_batches(kind: MemoryKind, model: Model, reader: Reader):
    text = random_tokens(11, 200)
    with open_context(model) as context:
        context.prefill(text)
        context.rollback(150)
        context.decode([7, 8], outputs=2)
        reader.assert_same(context, [*text[:150], 7, 8])
