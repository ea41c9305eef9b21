import numpy as np
import pytest

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.policy import MAX_DRAFT
from edgespec.plan.speedup import (
    Rollback,
    best_length,
    break_even,
    expected_tokens,
    explain_speedup,
    pair_rate,
    predict_rate,
)

_FLAT = dict.fromkeys(range(1, 17), 1.0)


def _costs(draft_step_s: float, verify: dict[int, float] = _FLAT) -> PairCosts:
    return PairCosts(CostCurve(verify), CostCurve({1: draft_step_s}))


def test_expected_tokens_are_the_sum_of_the_chain():
    assert expected_tokens(0.5, 3) == pytest.approx(1 + 0.5 + 0.25 + 0.125)
    assert expected_tokens(1.0, 3) == 4
    assert expected_tokens(0.0, 3) == 1


def test_a_cheap_draft_drafts_further_than_a_dear_one():
    assert best_length(_costs(0.02), 0.8) > best_length(_costs(0.2), 0.8) > 0
    assert best_length(_costs(2.0), 0.8) == 0


def test_break_even_is_where_drafting_begins_to_pay():
    costs = _costs(0.2)
    least = break_even(costs)
    assert least is not None
    assert best_length(costs, least + 0.02) > 0
    assert best_length(costs, least - 0.02) == 0
    assert break_even(_costs(5.0)) is None


def test_an_explanation_gives_the_speedup_back():
    costs = _costs(0.1)
    found = explain_speedup(costs, 1.5, 0.7, 5)
    assert found.acceptance is not None
    assert pair_rate(costs, found.acceptance, 5) == pytest.approx(1.5)
    assert found.draft_step_share is not None
    assert pair_rate(_costs(found.draft_step_share), 0.7, 5) == pytest.approx(1.5)


def test_a_slowdown_beyond_what_misses_cost_has_no_acceptance():
    # Nothing accepted: five draft steps of 0.01 and a pass, so 0.95x is the worst that can be.
    found = explain_speedup(_costs(0.01), 0.55, 0.7, 5)
    assert found.acceptance is None
    assert found.worst_speedup == pytest.approx(1 / 1.05)
    assert pair_rate(_costs(found.least_step_share), 0.0, 5) == pytest.approx(0.55)


def test_what_is_read_again_is_what_was_right_unless_all_was():
    costs, again = _costs(0.1), Rollback(row_s=0.05)
    # Two guesses at a half: none, one or both hold with 1/2, 1/4 and 1/4, and one or two rows are read again.
    round_s = 2 * 0.1 + 1.0 + 0.05 * (1 / 2 * 1 + 1 / 4 * 2)
    assert pair_rate(costs, 0.5, 2, again) == pytest.approx(1.75 / round_s)
    assert pair_rate(costs, 1.0, 2, again) == pair_rate(costs, 1.0, 2)
    assert break_even(costs, again) > break_even(costs)
    assert best_length(costs, 0.95, Rollback(longest=3)) == 3


def test_an_explanation_reckons_with_what_is_read_again():
    costs, again = _costs(0.1), Rollback(row_s=0.05)
    found = explain_speedup(costs, 1.5, 0.7, 5, again)
    assert found.acceptance is not None
    assert pair_rate(costs, found.acceptance, 5, again) == pytest.approx(1.5)
    assert found.draft_step_share is not None
    assert pair_rate(_costs(found.draft_step_share), 0.7, 5, again) == pytest.approx(1.5)


def _simulate(acceptance: float, length: int, rounds: int = 200_000) -> float:
    """Mean tokens of a round, drawn: the drafted tokens up to the first refused one, and the target's own."""
    accepted = np.random.default_rng(length).random((rounds, length)) < acceptance
    return float(1 + np.cumprod(accepted, axis=1).sum() / rounds)


@pytest.mark.parametrize("acceptance", [0.0, 0.35, 0.8, 0.97, 1.0])
@pytest.mark.parametrize("length", [1, 4, 15])
def test_expected_tokens_are_what_a_simulation_counts(acceptance: float, length: int):
    assert expected_tokens(acceptance, length) == pytest.approx(_simulate(acceptance, length), rel=0.01)


_STAIRCASE = {1: 1.0, 2: 1.1, 4: 1.2, 8: 2.0, 16: 3.9}


@pytest.mark.parametrize("verify", [_FLAT, _STAIRCASE], ids=["flat", "staircase"])
@pytest.mark.parametrize(("draft_step_s", "acceptance"), [(0.02, 0.9), (0.1, 0.6), (0.3, 0.8)])
def test_a_rate_is_what_a_simulation_of_rounds_takes(verify, draft_step_s, acceptance):
    costs = _costs(draft_step_s, verify)
    for length in (1, 3, 7):
        round_s = length * draft_step_s + costs.verify_s(length + 1)
        assert pair_rate(costs, acceptance, length) == pytest.approx(
            _simulate(acceptance, length) / round_s, rel=0.01
        )


def test_without_a_draft_the_rate_is_that_of_plain_steps():
    assert pair_rate(_costs(0.1, {1: 0.25, 2: 0.3}), 0.9, 0) == 4.0


@pytest.mark.parametrize("verify", [_FLAT, _STAIRCASE], ids=["flat", "staircase"])
@pytest.mark.parametrize("acceptance", [0.5, 0.7, 0.9, 0.99])
def test_the_best_length_is_the_best_of_all_that_can_be_tried(verify, acceptance):
    costs = _costs(0.05, verify)
    best = best_length(costs, acceptance)
    assert best > 0
    rates = {length: pair_rate(costs, acceptance, length) for length in range(MAX_DRAFT + 1)}
    assert rates[best] == max(rates.values())


@pytest.mark.parametrize("draft_step_s", [0.01, 0.1, 0.5, 2.0])
def test_a_prediction_is_never_below_plain_nor_beyond_a_draft_that_is_always_right(draft_step_s):
    costs = _costs(draft_step_s, _STAIRCASE)
    bound = max(pair_rate(costs, 1.0, length) for length in range(MAX_DRAFT + 1))
    rates = [predict_rate(costs, percent / 100) for percent in range(0, 101, 5)]
    assert rates == sorted(rates)
    assert rates[0] == 1.0
    assert all(1.0 <= rate <= bound for rate in rates)


def test_break_even_falls_with_the_cost_of_a_draft_step():
    found = [break_even(_costs(draft_step_s)) for draft_step_s in (0.02, 0.1, 0.3, 0.5)]
    assert None not in found
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_a_free_draft_would_be_too_slow_where_verifying_costs_too_much():
    # Two rows cost as much as two steps, and K = 1 brings 1.5 tokens: at best 0.75x.
    found = explain_speedup(_costs(0.01, {1: 1.0, 2: 2.0}), 0.9, 0.5, 1)
    assert found.draft_step_share is None
    assert found.acceptance == pytest.approx(0.809, abs=0.001)
    assert (found.worst_speedup, found.best_speedup) == pytest.approx((1 / 2.01, 2 / 2.01))


def test_a_speedup_beyond_what_a_perfect_draft_gives_has_no_acceptance():
    found = explain_speedup(_costs(0.1), 9.0, 0.7, 5)
    assert found.acceptance is None
    assert found.best_speedup == pytest.approx(6 / 1.5)
    assert found.least_step_share == 0.0
    assert found.predicted_step_share == pytest.approx(0.1)
