import pytest

from edgespec.decode.costs import PairCosts, curve_from
from edgespec.plan.speedup import best_length, break_even, expected_tokens, explain_speedup, pair_rate

_FLAT = dict.fromkeys(range(1, 17), 1.0)


def _costs(draft_step_s: float, verify: dict[int, float] = _FLAT) -> PairCosts:
    return PairCosts(curve_from(dict(verify)), curve_from({1: draft_step_s}))


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
