"""Sequences of a shared cache that come and go: each as if it were alone, and cells counted as llama.cpp holds them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from edgespec.errors import ContextOverflowError, EngineError
from edgespec.llama.cells import Cells
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.kv_types import KvType
from edgespec.llama.model import Model
from edgespec.llama.slots import Part, Slots

EXACT = ContextSettings(256, 1, n_outputs_max=8, type_k=KvType.F32, type_v=KvType.F32)
SHARED = replace(EXACT, n_sequences=4, kv_unified=True)
NEAR = 0.05
"""Logits that are alike: with one token of the text another one they are 1 and more apart."""
TEXT = [70 + 3 * place % 100 for place in range(60)]


@pytest.fixture
def model(tiny_model: Path) -> Iterator[Model]:
    with Model(tiny_model) as model:
        yield model


def expected(model: Model, tokens: list[int], rows: int = 1) -> np.ndarray:
    with Context(model, EXACT) as context:
        context.decode(tokens, outputs=rows)
        return context.logits(rows).copy()


def test_rows_of_several_sequences_are_those_of_each_alone(model: Model):
    with Slots(model, SHARED) as slots:
        one, other, third = slots.slots[:3]
        one.prefill(TEXT[:20])
        slots.decode([Part(one, TEXT[20:23], 3), Part(other, TEXT[5:30], 1), Part(third, TEXT[:9], 0)])
        np.testing.assert_allclose(one.logits(3), expected(model, TEXT[:23], 3), atol=NEAR)
        np.testing.assert_allclose(other.logits(), expected(model, TEXT[5:30]), atol=NEAR)
        slots.decode([Part(third, TEXT[9:12]), Part(one, [9])])
        np.testing.assert_allclose(third.logits(), expected(model, TEXT[:12]), atol=NEAR)
        np.testing.assert_allclose(one.logits(), expected(model, [*TEXT[:23], 9]), atol=NEAR)
        assert one.tokens == [*TEXT[:23], 9]


def test_a_copy_shares_cells_and_outlives_what_it_was_copied_from(model: Model):
    with Slots(model, SHARED) as slots:
        one, other = slots.slots[:2]
        one.prefill(TEXT[:40])
        other.copy(one, 30)
        assert slots.cells.used_n == 40
        other.decode(TEXT[50:52])
        one.clear()
        assert slots.cells.used_n == 32
        other.decode([7])
        np.testing.assert_allclose(other.logits(), expected(model, [*TEXT[:30], *TEXT[50:52], 7]), atol=NEAR)
        other.rollback(10)
        assert (slots.cells.used_n, other.tokens) == (10, TEXT[:10])
        slots.clear()
        assert slots.cells.free_n == slots.cells.count == 256


def test_padded_rows_are_taken_back(model: Model):
    with Slots(model, SHARED) as slots:
        one = slots.slots[0]
        assert one.decode(TEXT[:3], outputs=3, pad_to=8) == 8
        assert (one.tokens, slots.cells.used_n) == (TEXT[:3], 3)
        one.decode([9])
        np.testing.assert_allclose(one.logits(), expected(model, [*TEXT[:3], 9]), atol=NEAR)


def test_what_was_saved_comes_back_in_another_sequence(model: Model):
    with Slots(model, SHARED) as slots:
        one, other = slots.slots[:2]
        one.prefill(TEXT)
        saved = one.save()
        slots.clear()
        slots.slots[2].prefill(TEXT[:7])
        other.restore(saved)
        assert (other.tokens, slots.cells.used_n) == (TEXT, 67)
        other.rollback(50)
        other.decode([9])
        np.testing.assert_allclose(other.logits(), expected(model, [*TEXT[:50], 9]), atol=NEAR)
        with pytest.raises(EngineError):
            one.restore(replace(saved, data=saved.data[: saved.data.size // 2]))
        assert (one.tokens, slots.cells.used_n) == ([], 58)


def test_what_does_not_fit_is_refused_and_changes_nothing(model: Model):
    with Slots(model, SHARED, n_each=100) as slots:
        one, other, third = slots.slots[:3]
        one.prefill((TEXT * 2)[:99])
        other.prefill((TEXT * 2)[:99])
        with pytest.raises(ContextOverflowError, match="101 tokens do not fit a context of 100"):
            one.decode([5, 6])
        with pytest.raises(ContextOverflowError, match="no room for 2 more tokens"):
            slots.decode([Part(third, TEXT)])
        with pytest.raises(EngineError, match="rows of logits"):
            slots.decode([Part(third, TEXT[:9], 9)])
        assert slots.cells.used_n == 198
        one.decode([5])
        np.testing.assert_allclose(one.logits(), expected(model, [*(TEXT * 2)[:99], 5]), atol=NEAR)


def order_in_cache(slots: Slots, number: int, count: int, form: tuple[int, int]) -> list[int]:
    """The positions of a sequence in the order of llama.cpp's cells, which begins a copy of it (llama-kv-cache.cpp, state_write_meta).

    Args:
        slots: The cache.
        number: Of the sequence.
        count: Its tokens.
        form: Where the first position stands in the copy, and the next one behind it, in words of 32 bits.
    """
    words = slots.read(number)
    found: list[int] = words[: words.size // 4 * 4].view(np.int32)[form[0] :: form[1]][:count].tolist()
    return found


def form_of_copies(slots: Slots) -> tuple[int, int]:
    slot = slots.slots[0]
    slot.prefill(TEXT)
    forms = [(first, stride) for first in range(8) for stride in range(2, 12)]
    found = [one for one in forms if order_in_cache(slots, 0, len(TEXT), one) == list(range(len(TEXT)))]
    slot.clear()
    return found[0]


def test_cells_have_the_order_that_llama_gives_them(model: Model):
    """Sequences that come, go, lose their ends and share their beginnings."""
    random = Random(3)
    with Slots(model, SHARED) as slots:
        scattered_n, form = 0, form_of_copies(slots)
        for _ in range(120):
            slot, other = random.sample(slots.slots, 2)
            match random.randrange(4):
                case 0:
                    slot.rollback(random.randrange(len(slot.tokens) + 1))
                case 1 if other.tokens:
                    slot.copy(other, random.randrange(1, len(other.tokens) + 1))
                case 2 if slot.tokens:
                    slot.decode([7, 8], pad_to=4)
                case _ if slots.cells.free_n >= 30:
                    slots.decode([Part(slot, TEXT[: random.randrange(1, 12)]), Part(other, TEXT[:3])])
            for one in slots.slots:
                if one.tokens:
                    wanted = np.argsort(one.cells).tolist()
                    assert order_in_cache(slots, one.number, len(one.tokens), form) == wanted
                    scattered_n += wanted != sorted(wanted)
        assert scattered_n > 20


def test_what_is_gathered_lies_before_all_free_cells_and_goes_on_as_before(model: Model):
    with Slots(model, SHARED) as slots:
        first, one, last = slots.slots[:3]
        for slot in (first, one, last):
            slot.prefill(TEXT[:20])
        first.clear()
        one.decode(TEXT[20:22])
        assert one.cells != sorted(one.cells)
        last.gather()
        assert last.cells == [*range(2, 20), 40, 41]
        assert slots.cells.next_free > last.cells[-1]
        last.decode(TEXT[20:22])
        assert last.cells == sorted(last.cells)
        np.testing.assert_allclose(last.logits(), expected(model, TEXT[:22]), atol=NEAR)


def test_cells_are_free_when_nobody_holds_them():
    cells = Cells(4)
    own = cells.take(3)
    cells.share(own[:2])
    cells.give_back(own)
    assert (cells.free_n, cells.used_n, cells.next_free) == (2, 2, 2)
    cells.give_back(own[:2])
    assert cells.next_free == 0
    assert cells.take(4) == [0, 1, 2, 3]
    assert cells.next_free == 4
