"""Replays: a recorded answer through the real loop, on a clock that only costs advance."""

from copy import deepcopy

import pytest

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.policy import Mode
from edgespec.decode.replay import Guesses, GuessView, Recording, Replay, ReplayClock

FLAT = {1: 1.0, 2: 1.05, 4: 1.1, 8: 1.2, 16: 1.4}
PROMPT = (1, 2, 3)
LONG_PROMPT = tuple(range(1000, 1300))
TOKENS = tuple(range(100, 180))
ANSWER = Recording(PROMPT, TOKENS)


def guesses_of(tokens: tuple[int, ...], lead: float) -> Guesses:
    """The same whatever of the text was read."""
    return Guesses((GuessView(0, 0, tokens, (lead,) * len(tokens)),))


RIGHT = guesses_of(TOKENS, 9.0)
WRONG = guesses_of((5,) * len(TOKENS), 0.1)


def costs_of(draft_step_s: float) -> PairCosts:
    return PairCosts(CostCurve(FLAT), CostCurve({1: draft_step_s, 32: 4 * draft_step_s}))


def test_plain_steps_cost_what_they_cost():
    (one,) = Replay(costs_of(0.1), Mode.OFF).run([ANSWER])
    assert one.tok_per_s == pytest.approx(1.0)
    assert one.speedup == pytest.approx(1.0)
    assert one.draft_n == 0


def test_a_draft_that_is_always_right_is_worth_what_the_costs_say():
    (one,) = Replay(costs_of(0.02)).run([ANSWER], [RIGHT])
    assert one.draft_n == one.draft_n_accepted > 60
    # Up to sixteen tokens for a pass of 1.4 and fifteen draft steps.
    assert 6.0 < one.speedup < 16 / (1.4 + 15 * 0.02)


def test_a_draft_that_is_never_right_is_soon_left_alone():
    results = Replay(costs_of(0.02)).run([ANSWER] * 4, [WRONG] * 4)
    assert all(one.draft_n_accepted == 0 for one in results)
    assert results[-1].speedup > 0.96


def test_a_cheaper_draft_is_worth_more_and_costs_stay_as_they_were():
    half_right = guesses_of(tuple(token if place % 3 else 5 for place, token in enumerate(TOKENS)), 6.0)
    costs = costs_of(0.4)
    before = dict(costs.verify.points)
    dear = Replay(costs).run([ANSWER] * 3, [half_right] * 3)[-1]
    cheap = Replay(costs_of(0.05)).run([ANSWER] * 3, [half_right] * 3)[-1]
    assert cheap.speedup > dear.speedup
    assert costs.verify.points == before


@pytest.mark.parametrize("length", [1, 4, 15])
def test_a_fixed_length_costs_what_its_rounds_cost(length: int):
    """All guesses hold, and the draft has read the prompt with its first guess."""
    costs = costs_of(0.1)
    (one,) = Replay(costs, draft_length=length).run([ANSWER], [RIGHT])
    rounds, left = divmod(len(TOKENS) - 1, length + 1)
    seconds = rounds * (length * 0.1 + costs.verify_s(length + 1))
    if left:
        seconds += (left - 1) * 0.1 + costs.verify_s(left)
    # The first reading is four rows, and after a round its last guess and the target's own token are read at once.
    read_s = costs.draft.cost(4) - 0.1 + (rounds if left > 1 else rounds - 1) * (costs.draft.cost(2) - 0.1)
    assert (len(TOKENS) - 1) / one.tok_per_s == pytest.approx(seconds + read_s)


def test_text_that_repeats_itself_needs_no_draft():
    phrase = tuple(range(500, 520))
    copying = Recording((*phrase, 7), phrase * 4)
    (one,) = Replay(costs_of(0.1), Mode.NGRAM).run([copying])
    assert one.speedup > 2.0


def test_what_is_learnt_goes_from_one_answer_to_the_next_and_out():
    """A draft that is never sure and always right is followed further with every answer."""
    acceptance = Acceptance()
    modest = guesses_of(TOKENS, 0.3)
    first, *_, last = Replay(costs_of(0.1), acceptance=acceptance).run([ANSWER] * 8, [modest] * 8)
    assert last.speedup > 1.1 * first.speedup
    assert acceptance.of_lead(0.3).mean > Acceptance().of_lead(0.3).mean + 0.5


def test_an_acceptance_that_was_given_is_where_it_begins():
    poor = Acceptance.measured(0.02)
    (one,) = Replay(costs_of(0.25), acceptance=deepcopy(poor)).run([ANSWER], [WRONG])
    (hoping,) = Replay(costs_of(0.25)).run([ANSWER], [WRONG])
    assert one.draft_n < hoping.draft_n


def test_what_a_draft_says_depends_on_where_it_began_to_read():
    """With the end of the prompt alone it is always wrong; with all of it, always right."""
    count = len(TOKENS)
    views = (
        GuessView(0, 0, TOKENS, (9.0,) * count),
        GuessView(len(LONG_PROMPT) - 24, 0, (5,) * count, (9.0,) * count),
    )
    recording = Recording(LONG_PROMPT, TOKENS)
    (short,) = Replay(costs_of(0.02), Mode.MODEL, draft_length=4).run([recording], [Guesses(views)])
    (whole,) = Replay(costs_of(0.02), Mode.MODEL, draft_length=4).run([recording], [Guesses(views[:1])])
    assert short.draft_n_accepted == 0
    assert whole.draft_n_accepted == whole.draft_n > 60


@pytest.mark.parametrize(
    ("begin", "view"), [(0, 0), (5, 0), (10, 1), (19, 1), (20, 2), (99, 2)], ids=lambda value: str(value)
)
def test_a_view_is_that_of_the_nearest_beginning_before(begin: int, view: int):
    views = tuple(GuessView(first, 0, (first,), (1.0,)) for first in (0, 10, 20))
    assert Guesses(views).best_view(begin) is views[view]


def test_a_guess_at_a_place_before_a_view_begins_is_its_first():
    view = GuessView(30, 2, (7, 8, 9), (1.0, 2.0, 3.0))
    assert [view.at(place) for place in (0, 2, 3, 4, 9)] == [(7, 1.0), (7, 1.0), (8, 2.0), (9, 3.0), (9, 3.0)]


def test_acceptance_is_the_share_of_right_guesses():
    assert RIGHT.acceptance(ANSWER) == 1.0
    assert WRONG.acceptance(ANSWER) == 0.0


def test_a_clock_shows_what_was_spent_at_the_speed_of_now():
    clock = ReplayClock()
    clock.spend(1.5)
    clock.slowdown = 2.0
    clock.spend(1.0)
    assert clock() == 3.5
