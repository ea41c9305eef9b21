"""Replays: a recorded answer through the real loop, on a clock that only costs advance."""

import pytest

from edgespec.decode.costs import PairCosts, curve_from
from edgespec.decode.policy import Mode
from edgespec.decode.replay import Guesses, Recording, replay

FLAT = {1: 1.0, 2: 1.05, 4: 1.1, 8: 1.2, 16: 1.4}
TOKENS = tuple(range(100, 180))
ANSWER = Recording((1, 2, 3), TOKENS, (8.0,) * len(TOKENS))
RIGHT = Guesses(TOKENS, (9.0,) * len(TOKENS))
WRONG = Guesses((5,) * len(TOKENS), (0.1,) * len(TOKENS))


def _costs(draft_step_s: float) -> PairCosts:
    return PairCosts(curve_from(dict(FLAT)), curve_from({1: draft_step_s, 32: 4 * draft_step_s}))


def test_plain_steps_cost_what_they_cost():
    (one,) = replay([ANSWER], None, _costs(0.1), Mode.OFF)
    assert one.tok_per_s == pytest.approx(1.0)
    assert one.speedup == pytest.approx(1.0)
    assert one.draft_n == 0


def test_a_draft_that_is_always_right_is_worth_what_the_costs_say():
    (one,) = replay([ANSWER], [RIGHT], _costs(0.02))
    assert one.draft_n == one.draft_n_accepted > 40
    # Twelve tokens come plain; then up to sixteen for a pass of 1.4 and fifteen draft steps.
    assert 3.0 < one.speedup < 16 / (1.4 + 15 * 0.02)


def test_a_draft_that_is_never_right_is_soon_left_alone():
    results = replay([ANSWER] * 4, [WRONG] * 4, _costs(0.02))
    assert all(one.draft_n_accepted == 0 for one in results)
    assert results[-1].speedup > 0.97


def test_a_cheaper_draft_is_worth_more_and_costs_stay_as_they_were():
    half_right = Guesses(
        tuple(token if place % 3 else 5 for place, token in enumerate(TOKENS)), (6.0,) * len(TOKENS)
    )
    costs = _costs(0.4)
    before = dict(costs.verify.points)
    dear = replay([ANSWER] * 3, [half_right] * 3, costs)[-1]
    cheap = replay([ANSWER] * 3, [half_right] * 3, _costs(0.05))[-1]
    assert cheap.speedup > dear.speedup
    assert costs.verify.points == before


def test_text_that_repeats_itself_needs_no_draft():
    phrase = tuple(range(500, 520))
    copying = Recording((*phrase, 7), phrase * 4, (8.0,) * 80)
    (one,) = replay([copying], None, _costs(0.1), Mode.NGRAM)
    assert one.speedup > 2.0


def test_acceptance_is_the_share_of_right_guesses():
    assert RIGHT.acceptance(ANSWER) == 1.0
    assert WRONG.acceptance(ANSWER) == 0.0
