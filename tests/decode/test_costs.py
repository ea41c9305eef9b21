"""What a decode costs: lines between measured points, and corrections that follow the machine but no accident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.decode.costs import (
    CATCH_UP_STEPS,
    MAX_WINDOW,
    MIN_WINDOW,
    CostCurve,
    PairCosts,
    curve_from,
)

curves = st.dictionaries(st.integers(1, 16), st.floats(1e-4, 10.0), min_size=2)


def pair(verify: dict[int, float] | None = None, draft: dict[int, float] | None = None) -> PairCosts:
    return PairCosts(curve_from(verify or {1: 1.0, 2: 1.5, 4: 2.0}), curve_from(draft or {1: 0.2, 8: 0.9}))


def test_between_two_points_lies_a_straight_line():
    curve = CostCurve({1: 1.0, 2: 2.0, 6: 4.0})
    assert [curve.cost(rows) for rows in (1, 2, 3, 4, 5, 6)] == [1.0, 2.0, 2.5, 3.0, 3.5, 4.0]


def test_beyond_the_last_point_the_mean_slope_goes_on():
    curve = CostCurve({1: 1.0, 2: 4.0, 5: 5.0})
    assert curve.cost(6) == 6.0
    assert curve.cost(25) == 25.0


def test_a_curve_that_falls_is_not_followed_below_its_last_point():
    assert CostCurve({1: 2.0, 4: 1.0}).cost(40) == 1.0


def test_below_the_first_point_cost_is_proportional():
    assert CostCurve({4: 2.0, 8: 3.0}).cost(1) == 0.5


def test_one_point_alone_promises_no_gain_from_more_rows():
    """A target that is too slow for the budget of the measuring is measured at one row only."""
    assert CostCurve({1: 2.0}).cost(8) >= 16.0


@given(curves, st.integers(1, 16))
def test_a_cost_lies_between_those_of_its_neighbours(points: dict[int, float], rows: int):
    rows = min(max(rows, min(points)), max(points))
    low = points[max(known for known in points if known <= rows)]
    high = points[min(known for known in points if known >= rows)]
    assert min(low, high) * (1 - 1e-9) <= CostCurve(dict(points)).cost(rows) <= max(low, high) * (1 + 1e-9)


@given(curves, st.integers(2, 16))
def test_padding_never_makes_a_verification_dearer_or_a_batch_smaller(points: dict[int, float], rows: int):
    costs = PairCosts(CostCurve(dict(points)))
    assert costs.verify_s(rows) <= costs.verify.cost(rows)
    assert costs.batch_for.get(rows, rows) >= rows


def test_a_batch_grows_to_where_the_staircase_goes_down():
    costs = pair({1: 1.0, 2: 1.7, 3: 2.2, 4: 1.5, 8: 3.0})
    assert costs.batch_for == {1: 1, 2: 4, 3: 4, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8}
    assert costs.verify_s(2) == costs.verify_s(3) == 1.5


def test_a_plain_step_is_never_padded():
    assert pair({1: 1.0, 2: 0.5, 4: 0.4}).batch_for[1] == 1


def test_padding_is_chosen_anew_when_the_curve_has_moved():
    costs = pair({1: 1.0, 3: 2.0, 4: 2.1})
    assert costs.batch_for[3] == 3
    for _ in range(20):
        costs.observe_verify(3, 3.0 * costs.verify.cost(1))
    costs.refresh_batches()
    assert costs.batch_for[3] == 4


def test_a_machine_that_slows_down_moves_target_and_draft_alike():
    costs = pair()
    for _ in range(30):
        costs.observe_verify(1, 1.6)
    assert costs.step_s == pytest.approx(1.6, rel=0.02)
    assert 1.3 < costs.draft_step_s / 0.2 < 1.7
    assert 1.3 < costs.verify_s(4) / 2.0 < 1.7


def test_the_draft_reports_a_slower_machine_too():
    costs = pair()
    for _ in range(30):
        costs.observe_draft(1, 0.32)
    assert costs.draft_step_s == pytest.approx(0.32, rel=0.02)
    assert costs.step_s > 1.1


def test_one_outlier_counts_for_no_more_than_twice_the_expected():
    page_fault, doubled = pair(), pair()
    page_fault.observe_verify(2, 1000.0)
    doubled.observe_verify(2, 3.0)
    assert page_fault.verify.points == doubled.verify.points
    assert page_fault.step_s < 1.25


def test_one_outlier_does_not_change_what_costs_more_than_what():
    """What is compared is ratios; a common factor cancels."""
    costs = pair()
    before = costs.verify_s(2) / costs.step_s
    costs.observe_verify(2, 1000.0)
    assert costs.verify_s(2) / costs.step_s == pytest.approx(before, rel=0.15)
    assert costs.draft_step_s / costs.step_s == pytest.approx(0.2)


def test_an_outlier_is_forgotten():
    costs = pair()
    costs.observe_verify(1, 50.0)
    for _ in range(15):
        costs.observe_verify(1, 1.0)
    assert costs.step_s == pytest.approx(1.0, rel=0.02)


def test_a_point_that_was_measured_wrong_is_learnt_while_the_others_are_right():
    costs = pair({1: 1.0, 4: 2.0})
    for _ in range(60):
        costs.observe_verify(4, 3.0)
        costs.observe_verify(1, 1.0)
    assert costs.verify_s(4) / costs.step_s == pytest.approx(3.0, rel=0.1)


def test_without_a_draft_a_draft_step_is_out_of_reach():
    costs = PairCosts(curve_from({1: 1.0, 2: 1.1}))
    assert costs.draft_step_s == float("inf")
    costs.observe_draft(1, 0.1)
    assert costs.step_s == 1.0


def test_a_returning_draft_reads_as_much_as_a_few_plain_steps_cost():
    steps = 1.0
    dear, cheap = pair(draft={1: 0.5, 32: 6.0}), pair(draft={1: 0.02, 32: 0.4})
    for costs in (dear, cheap):
        rows = costs.catch_up_window()
        assert rows == MIN_WINDOW or costs.draft.cost(rows) <= CATCH_UP_STEPS * steps
    assert MIN_WINDOW == dear.catch_up_window() < cheap.catch_up_window() < MAX_WINDOW


def test_a_draft_that_costs_nothing_reads_no_more_than_the_largest_window():
    assert pair(draft={1: 1e-6, 32: 1e-5}).catch_up_window() == MAX_WINDOW


def test_without_a_draft_there_is_nothing_to_read():
    assert PairCosts(curve_from({1: 1.0})).catch_up_window() == 0


def test_the_points_given_are_not_changed():
    points = {1: 1.0, 2: 2.0}
    PairCosts(curve_from(points)).observe_verify(1, 5.0)
    assert points == {1: 1.0, 2: 2.0}
