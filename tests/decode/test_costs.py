"""What a decode costs: lines between measured points, and corrections that follow the machine but no accident."""

import math
from collections.abc import Callable
from random import Random
from statistics import pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.decode.costs import CostCurve, PairCosts, pays_to_pad, row_share

curves = st.dictionaries(st.integers(1, 16), st.floats(1e-4, 10.0), min_size=2)
VERIFY = {1: 1.0, 2: 1.5, 4: 2.0, 8: 3.0}
DRAFT = {1: 0.2, 8: 0.9}


def pair(verify: dict[int, float] | None = None, draft: dict[int, float] | None = None) -> PairCosts:
    return PairCosts(CostCurve(verify or VERIFY), CostCurve(draft or DRAFT))


def settled_pair() -> PairCosts:
    """Costs that have been right for a while."""
    costs = pair()
    for _ in range(30):
        observe_round(costs)
        costs.observe_verify(1, 1.0)
    return costs


def observe_round(costs: PairCosts, target: float = 1.0, draft: float = 1.0) -> None:
    """A draft of two and its verification, with the machine at that share of its speed."""
    for _ in range(2):
        costs.observe_draft(1, draft * DRAFT[1])
    costs.observe_verify(4, target * VERIFY[4])


def test_passes_that_vary_are_told_from_those_that_do_not():
    quiet, busy, noise = settled_pair(), settled_pair(), Random(3)
    for _ in range(100):
        quiet.observe_verify(1, 1.0 + noise.uniform(-0.03, 0.03))
        busy.observe_verify(1, noise.choice((1.0, 1.0, 1.9)))
    assert quiet.pass_deviation < 0.06
    assert busy.pass_deviation > 0.15


# The curve


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
    assert min(low, high) * (1 - 1e-9) <= CostCurve(points).cost(rows) <= max(low, high) * (1 + 1e-9)


@given(curves, st.floats(0.2, 5.0), st.floats(0.2, 5.0), st.integers(1, 16))
def test_a_curve_that_moved_is_the_curve_of_its_moved_points(
    points: dict[int, float], scaled: float, tilted: float, rows: int
):
    curve = CostCurve(points)
    curve.scale(scaled)
    curve.tilt(tilted)
    curve.nudge(max(points), 1.1)
    assert curve.cost(rows) == pytest.approx(CostCurve(curve.points).cost(rows))


def test_a_tilt_leaves_a_single_row_and_moves_many_rows_most():
    curve = CostCurve(VERIFY)
    curve.tilt(2.0)
    grown = [curve.cost(rows) / VERIFY[rows] for rows in VERIFY]
    assert grown[0] == 1.0
    assert grown == sorted(grown)
    assert 1.8 < grown[-1] < 2.0


def test_the_points_given_are_not_changed():
    points = {1: 1.0, 2: 2.0}
    costs = PairCosts(CostCurve(points))
    costs.observe_verify(1, 5.0)
    costs.observe_verify(2, 5.0)
    assert points == {1: 1.0, 2: 2.0}


# Padding


@given(curves, st.integers(2, 16))
def test_padding_never_makes_a_verification_dearer_or_a_batch_smaller(points: dict[int, float], rows: int):
    costs = PairCosts(CostCurve(points))
    assert costs.verify_s(rows) <= costs.verify.cost(rows)
    assert costs.batch_for.get(rows, rows) >= rows


def test_a_batch_grows_to_where_the_staircase_goes_down():
    costs = pair({1: 1.0, 2: 1.7, 3: 2.2, 4: 1.5, 8: 3.0})
    assert costs.batch_for == {1: 1, 2: 4, 3: 4, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8}
    assert costs.verify_s(2) == costs.verify_s(3) == 1.5


def test_a_batch_is_padded_by_three_rows_at_most():
    costs = pair({1: 1.0, 2: 3.0, 4: 3.0, 5: 2.9, 6: 1.5, 16: 4.0})
    assert costs.batch_for[2] == 5
    assert costs.batch_for[3] == 6


def test_a_plain_step_is_never_padded():
    assert pair({1: 1.0, 2: 0.5, 4: 0.4}).batch_for[1] == 1


def test_padding_is_chosen_anew_when_the_curve_has_moved():
    costs = pair({1: 1.0, 3: 2.0, 4: 2.1})
    assert costs.batch_for[3] == 3
    for _ in range(60):
        costs.observe_verify(3, 3.0)
        costs.observe_verify(4, 2.1)
    costs.refresh_batches()
    assert costs.batch_for[3] == 4


def test_a_row_alone_is_padded_only_where_two_are_clearly_cheaper():
    assert not pays_to_pad({1: 1.0})
    assert not pays_to_pad({1: 1.0, 2: 0.98})
    assert pays_to_pad({1: 1.0, 2: 0.96})


# Following the machine


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("make", [pair, settled_pair], ids=["at once", "after long"])
def test_a_machine_at_another_speed_is_known_within_16_plain_steps(
    make: Callable[[], PairCosts], factor: float
):
    costs = make()
    for _ in range(3):
        costs.observe_verify(1, factor)
    assert costs.step_s == pytest.approx(factor, rel=0.05)
    for _ in range(13):
        costs.observe_verify(1, factor)
    assert costs.step_s == pytest.approx(factor, rel=0.005)
    assert costs.draft_step_s / DRAFT[1] == pytest.approx(factor, rel=0.04)
    assert costs.verify_s(4) / VERIFY[4] == pytest.approx(factor, rel=0.04)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_it_is_known_within_16_decodes_without_a_plain_step_too(factor: float):
    """What slows the draft and the rows alike is the machine: no drafts are left out for it."""
    costs = settled_pair()
    for _ in range(5):
        observe_round(costs, factor, factor)
    assert costs.step_s == pytest.approx(factor, rel=0.09)
    assert costs.draft_step_s / DRAFT[1] == pytest.approx(factor, rel=0.04)
    assert costs.verify_s(4) / VERIFY[4] == pytest.approx(factor, rel=0.04)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_plain_steps_tell_speed_from_rows_and_keep_what_several_rows_have_told(factor: float):
    """While every pass has several rows it is open which of the two has moved."""
    costs = settled_pair()
    for _ in range(12):
        observe_round(costs, factor, factor)
    told = costs.verify_s(4), costs.draft_step_s
    for _ in range(4):
        costs.observe_verify(1, factor)
    assert costs.step_s == pytest.approx(factor, rel=0.02)
    assert (costs.verify_s(4), costs.draft_step_s) == pytest.approx(told, rel=0.055)


def test_a_steady_machine_is_followed_with_an_error_smaller_than_its_noise():
    random, costs, errors, apart = Random(1), settled_pair(), [], []
    for number in range(1000):
        noise = [random.lognormvariate(0.0, 0.05) for _ in range(2)]
        if number % 3:
            observe_round(costs, *noise)
        else:
            costs.observe_verify(1, noise[0])
        errors.append(math.log(costs.step_s))
        apart.append(math.log(costs.verify_s(4) / costs.step_s))
    assert pstdev(errors) < 0.035
    assert pstdev(apart) < 0.018, "what is compared is ratios"


def test_on_an_uneasy_machine_the_noise_is_learnt_and_every_decode_says_less():
    moved = []
    for noise in (0.05, 0.3):
        random, costs = Random(2), settled_pair()
        for _ in range(200):
            costs.observe_verify(1, random.lognormvariate(0.0, noise))
        before = costs.step_s
        costs.observe_verify(1, 1.15 * before)
        moved.append(costs.step_s / before - 1.0)
    assert moved[1] < 0.6 * moved[0]


@pytest.mark.parametrize("observed", ["a step", "four rows", "the draft"])
def test_one_outlier_hardly_moves_anything_and_less_the_farther_out_it_lies(observed: str):
    """All by a tenth at most, and what is compared, the ratios, by three hundredths."""
    moved = []
    for factor in (1.2, 1.5, 3.0, 1000.0):
        costs = settled_pair()
        if observed == "the draft":
            costs.observe_draft(1, factor * DRAFT[1])
        else:
            rows = 1 if observed == "a step" else 4
            costs.observe_verify(rows, factor * VERIFY[rows])
        ratios = [costs.step_s, costs.verify_s(4) / VERIFY[4], costs.draft_step_s / DRAFT[1]]
        assert max(ratios) < 1.03 * min(ratios)
        moved.append(max(ratios))
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < 1.01
    assert moved[0] < 1.1


def test_an_outlier_at_the_very_first_decode_changes_no_ratio_and_is_forgotten_within_16():
    """Nothing is known of the machine yet, and the first pass may have had to load the weights."""
    costs = pair()
    costs.observe_verify(1, 1000.0)
    assert costs.draft_step_s / costs.step_s == pytest.approx(DRAFT[1])
    assert costs.verify_s(4) / costs.step_s == pytest.approx(VERIFY[4])
    for _ in range(16):
        costs.observe_verify(1, 1.0)
    assert costs.step_s == pytest.approx(1.0, rel=0.02)


def test_outliers_on_both_sides_are_outliers_still():
    costs = settled_pair()
    for _ in range(10):
        costs.observe_verify(1, 1000.0)
        costs.observe_verify(1, 0.001)
    assert 0.9 < costs.step_s < 1.1


def test_a_point_that_was_measured_wrong_is_learnt_while_the_others_are_right():
    costs = pair({1: 1.0, 4: 2.0})
    for _ in range(200):
        costs.observe_verify(4, 3.0)
        costs.observe_verify(1, 1.0)
    assert costs.verify_s(4) / costs.step_s == pytest.approx(3.0, rel=0.06)


@pytest.mark.parametrize("drafted", [[4], [2, 4, 8]], ids=["one length", "several"])
def test_rows_that_became_dear_while_drafting_are_learnt_and_forgotten_again_with_plain_steps(
    drafted: list[int],
):
    costs = settled_pair()
    for _ in range(20):
        for rows in drafted:
            costs.observe_verify(rows, VERIFY[rows] * 1.5 ** row_share(rows))
        costs.observe_verify(1, 1.0)
    assert costs.step_s == pytest.approx(1.0, rel=0.08)
    assert costs.verify_s(4) == pytest.approx(VERIFY[4] * 1.5**0.75, rel=0.09)
    assert costs.verify_s(8) > 1.2 * VERIFY[8], "rows that were not seen share it"
    ratios = [costs.verify_s(4) / VERIFY[4]]
    for _ in range(5):
        for _ in range(64):
            costs.observe_verify(1, 1.0)
        ratios.append(costs.verify_s(4) / VERIFY[4])
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[-1] - 1.0 < (ratios[0] - 1.0) / 2.0
    assert costs.verify_s(8) < 1.08 * VERIFY[8]


def test_a_draft_that_became_dear_beside_the_target_is_learnt_and_forgotten_again():
    costs = settled_pair()
    assert costs.draft is not None
    for _ in range(30):
        observe_round(costs, draft=1.5)
        costs.observe_verify(1, 1.0)
    assert costs.step_s == pytest.approx(1.0, rel=0.12)
    assert costs.verify_s(4) == pytest.approx(VERIFY[4], rel=0.08)
    assert costs.draft_step_s == pytest.approx(1.5 * DRAFT[1], rel=0.1)
    assert costs.draft.cost(8) > 1.15 * DRAFT[8], "a reading shares it"
    for _ in range(320):
        costs.observe_verify(1, 1.0)
    assert costs.draft.cost(8) == pytest.approx(DRAFT[8], rel=0.02)
    assert costs.draft_step_s < 1.25 * DRAFT[1]


def test_what_a_plain_step_takes_is_in_doubt_at_another_time_and_after_long_without_one():
    costs = pair()
    assert costs.knows_step
    costs.doubt()
    assert not costs.knows_step
    for _ in range(50):
        observe_round(costs)
    assert not costs.knows_step, "passes of several rows do not tell"
    costs.observe_verify(1, 1.0)
    assert costs.knows_step
    rounds = 0
    while costs.knows_step:
        observe_round(costs)
        rounds += 1
    assert 100 < rounds < 1000


@pytest.mark.parametrize("noise", [0.05, 0.5, 1.0])
def test_plain_steps_tell_what_a_plain_step_takes_however_busy_the_machine_is(noise: float):
    random, costs = Random(3), pair()
    costs.doubt()
    for _ in range(200):
        costs.observe_verify(1, random.lognormvariate(0.0, noise))
    known = 0
    for _ in range(100):
        costs.observe_verify(1, random.lognormvariate(0.0, noise))
        known += costs.knows_step
    assert known > 50


def test_without_a_draft_a_draft_step_is_out_of_reach():
    costs = PairCosts(CostCurve({1: 1.0, 2: 1.1}))
    assert costs.draft_step_s == float("inf")
    costs.observe_draft(1, 0.1)
    assert costs.step_s == 1.0


@given(st.lists(st.tuples(st.sampled_from(["target", "draft"]), st.integers(1, 8), st.floats(1e-4, 1e4))))
def test_whatever_is_observed_costs_stay_numbers_above_zero(seen: list[tuple[str, int, float]]):
    costs = pair()
    for what, rows, seconds in seen:
        (costs.observe_verify if what == "target" else costs.observe_draft)(rows, seconds)
        costs.refresh_batches()
    assert costs.draft is not None
    points = [*costs.verify.points.values(), *costs.draft.points.values()]
    assert all(0.0 < seconds < math.inf for seconds in points)
