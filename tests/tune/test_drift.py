"""Timings on a machine whose speed changes: real contexts on made-up time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.decode.measure_costs import TIMED_TARGET_ROWS
from edgespec.llama.build import native_kernels
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.tune.drift import DriftCorrection
from edgespec.tune.timing import time_draft, time_target
from edgespec.tune.variants import PUBLISHED, DraftVariant, ShortlistSettings, TargetVariant
from tests.decode.scripted import FakeClock
from tests.tiny import make_tiny_model

ROWS_S = {1: 0.02, 2: 0.03, 4: 0.05}
CONSTANT = 0.004


class Machine:
    """Real decodes on made-up time: n rows take `cost(n)` seconds, times what the machine's mood is."""

    def __init__(self, patch: pytest.MonkeyPatch, cost: Callable[[int], float]) -> None:
        self.clock, self.mood, self.cost = FakeClock(), 1.0, cost
        self.shortlists: set[int] = set()
        """Sizes of those that contexts had."""
        decode = Context.decode

        def timed(context: Context, tokens: list[int], *, outputs: int = 1, pad_to: int = 0) -> None:
            decode(context, tokens, outputs=outputs, pad_to=pad_to)
            if context.shortlist is not None:
                self.shortlists.add(len(context.shortlist.ids))
            self.clock.spend(self.mood * self.cost(len(tokens)))

        patch.setattr(Context, "decode", timed)

    def correction(self, path: Path) -> DriftCorrection:
        return DriftCorrection(path, 1, self.clock)


@contextmanager
def _context(path: Path) -> Iterator[Context]:
    with Model(path) as model, Context(model, ContextSettings(256, 1, n_outputs_max=4)) as context:
        yield context


def test_at_the_usual_speed_times_are_what_they_are(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = Machine(monkeypatch, ROWS_S.__getitem__)
    with machine.correction(tiny_model) as correction, _context(tiny_draft) as context:
        assert correction.time_decodes(context, (1, 2, 4), 30.0, all_outputs=True) == pytest.approx(ROWS_S)


@pytest.mark.parametrize("mood", [3.0, 0.25])
def test_what_is_timed_in_a_slow_or_a_fast_hour_costs_what_it_costs_in_a_usual_one(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch, mood: float
):
    machine = Machine(monkeypatch, ROWS_S.__getitem__)
    with machine.correction(tiny_model) as correction, _context(tiny_draft) as context:
        machine.mood = mood
        times = correction.time_decodes(context, (1, 2, 4), 30.0, all_outputs=True)
        assert context.n_past == 0
    assert times == pytest.approx(ROWS_S)


def test_a_machine_that_slows_down_between_two_variants_prefers_neither(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = Machine(monkeypatch, ROWS_S.__getitem__)
    found = []
    with machine.correction(tiny_model) as correction:
        for machine.mood in (1.0, 2.0):
            with _context(tiny_draft) as context:
                found.append(correction.time_decodes(context, (1, 4), 30.0, all_outputs=False))
    assert found[0] == pytest.approx(found[1])


def test_a_hiccup_during_one_of_the_parts_does_not_count(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = Machine(monkeypatch, ROWS_S.__getitem__)
    with machine.correction(tiny_model) as correction, _context(tiny_draft) as context:
        slow = iter([9.0] * 8)  # as many decodes as the first part takes of four rows
        machine.cost = lambda rows: ROWS_S[rows] * (next(slow, 1.0) if rows == 4 else 1.0)
        times = correction.time_decodes(context, (1, 2, 4), 30.0, all_outputs=True)
    assert next(slow, None) is None
    assert times == pytest.approx(ROWS_S)


# What the variants of a search are timed with.


def test_a_target_variant_is_timed_for_every_number_of_rows_that_a_round_may_verify(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = Machine(monkeypatch, lambda rows: CONSTANT * (4 + rows))
    with machine.correction(tiny_model) as correction:
        machine.mood = 1.5
        timed = time_target(TargetVariant("Q4_0", tiny_draft), correction)
    assert timed.curve.points == pytest.approx({rows: CONSTANT * (4 + rows) for rows in TIMED_TARGET_ROWS})
    assert timed.variant.label == "Q4_0"
    assert not timed.pads


def test_a_single_row_that_costs_more_than_two_is_run_as_two(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = Machine(monkeypatch, lambda rows: 0.03 if rows == 1 else 0.01 * rows)
    with machine.correction(tiny_model) as correction:
        timed = time_target(TargetVariant(PUBLISHED, tiny_model), correction)
    assert timed.pads
    assert timed.curve.cost(1) == timed.curve.cost(2) == pytest.approx(0.02)


def test_a_draft_variant_is_timed_for_steps_and_for_reading_what_it_missed(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = Machine(monkeypatch, lambda rows: CONSTANT * (1 + rows / 8))
    variant = DraftVariant("small, F32", "small", tiny_draft, "published")
    with machine.correction(tiny_model) as correction:
        machine.mood = 0.5
        timed = time_draft(variant, correction)
    assert timed.variant == variant
    assert timed.curve.points == pytest.approx({rows: CONSTANT * (1 + rows / 8) for rows in (1, 2, 8, 32)})


@pytest.mark.skipif(
    not native_kernels().isa, reason="the shortlist needs edgespec's kernels, which are for x86"
)
def test_a_draft_variant_is_timed_with_its_shortlist(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    small = make_tiny_model(tmp_path / "small.gguf", vocab_size=320)
    machine = Machine(monkeypatch, lambda _rows: CONSTANT)
    variant = DraftVariant("small", "small", small, "shortlist", shortlist=ShortlistSettings(64, (200,)))
    with machine.correction(tiny_model) as correction:
        time_draft(replace(variant, shortlist=None), correction)
        assert machine.shortlists == set()
        time_draft(variant, correction)
    assert machine.shortlists == {64 + 8}
