import math
import statistics

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgespec.bench.statistics import (
    Estimate,
    geometric_mean,
    mean_ratio,
    median,
    modified_z_scores,
    outliers,
    pooled_log_sd,
    ratio,
    ratio_interval,
    sample_sd,
    spread_of_rates,
    student_t,
)

rates = st.floats(0.01, 1e4)
rate_lists = st.lists(rates, min_size=1, max_size=12)
prompts = st.dictionaries(
    st.text(max_size=3), st.lists(rates, min_size=1, max_size=5), min_size=1, max_size=6
)


def test_the_geometric_mean_of_a_doubling_and_a_halving_is_one() -> None:
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert geometric_mean([1.0, 10.0, 100.0]) == pytest.approx(10.0)


def test_no_values_and_single_values_give_nan_where_nothing_can_be_said() -> None:
    assert math.isnan(median([]))
    assert math.isnan(geometric_mean([]))
    assert math.isnan(sample_sd([3.0]))
    assert math.isnan(pooled_log_sd([[1.0], [2.0]]))
    assert math.isnan(mean_ratio({}).value)


def test_the_sample_deviation_divides_by_n_minus_one() -> None:
    assert sample_sd([1.0, 3.0]) == pytest.approx(math.sqrt(2))


def test_the_error_of_a_ratio_adds_the_relative_errors_in_quadrature() -> None:
    found = ratio(Estimate(20.0, 0.6), Estimate(10.0, 0.4))
    assert found.value == pytest.approx(2.0)
    assert found.sd == pytest.approx(2.0 * 0.05)


def test_a_ratio_to_nothing_is_unknown_and_a_ratio_of_nothing_is_zero() -> None:
    assert math.isnan(ratio(Estimate(1.0, 0.1), Estimate(0.0, 0.1)).value)
    assert ratio(Estimate(0.0, 0.2), Estimate(4.0, 1.0)) == Estimate(0.0, 0.05)


def test_modified_z_scores_count_scaled_median_deviations() -> None:
    # Median 3, absolute deviations 2 1 0 1 2 with median 1.
    assert modified_z_scores([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(
        [-2 / 1.4826, -1 / 1.4826, 0.0, 1 / 1.4826, 2 / 1.4826]
    )


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], ()),
        ([50.0], ()),
        ([1000.0, 0.0], ()),
        ([-0.2, 0.0, 0.2], ()),
        ([-0.2, 0.0, 0.2, 4.0], (3,)),
        ([0.5, 0.30, 0.29, 0.31, 0.30], (0,)),
        ([10.0] * 7 + [100.0], (7,)),
        ([10.0] * 7 + [100.0, 100.0], (7, 8)),
    ],
)
def test_outliers_are_those_that_hyperfine_finds(values: list[float], found: tuple[int, ...]) -> None:
    assert outliers(values) == found


def test_the_pooled_deviation_ignores_differences_between_groups() -> None:
    e = math.e
    # Logarithms 0, 2 and 10, 12: each group deviates by 1 from its centre; four squares of one, two degrees of freedom.
    assert pooled_log_sd([[1.0, e**2], [e**10, e**12]]) == pytest.approx(math.sqrt(2))


def test_a_rate_with_repeats_carries_the_spread_between_repeats() -> None:
    found = spread_of_rates({"a": [10.0, 10.0 * math.exp(0.2)], "b": [1000.0, 1000.0 * math.exp(0.2)]})
    assert found.sd == pytest.approx(found.value * 0.1 * math.sqrt(2))


def test_a_rate_without_repeats_carries_the_spread_between_prompts() -> None:
    found = spread_of_rates({"a": [1.0], "b": [math.e**2]})
    assert found.value == pytest.approx(math.e)
    assert found.sd == pytest.approx(math.e * math.sqrt(2))


def test_the_error_of_a_speedup_with_two_repeats_is_that_of_a_mean_of_means() -> None:
    # Pooled deviation of the logarithm: sqrt(2) * 0.1; each mean of two: 0.1; mean of four prompts: 0.05.
    pair = [math.exp(-0.1), math.exp(0.1)]
    found = mean_ratio(dict.fromkeys("abcd", pair))
    assert found.value == pytest.approx(math.cosh(0.1))
    assert found.sd == pytest.approx(found.value * 0.05)


def test_the_error_of_a_speedup_grows_by_the_inefficiency_of_the_median_from_three_repeats_on() -> None:
    triple = [math.exp(-0.1), 1.0, math.exp(0.1)]
    found = mean_ratio({"a": triple})
    assert found.value == pytest.approx(1.0)
    assert found.sd == pytest.approx(0.1 * math.sqrt(math.pi / 2) / math.sqrt(3))


def test_the_error_of_a_speedup_without_repeats_is_the_standard_error_over_prompts() -> None:
    found = mean_ratio({"a": [math.exp(0.1)], "b": [math.exp(0.3)]})
    assert found.value == pytest.approx(math.exp(0.2))
    assert found.sd == pytest.approx(found.value * 0.1)


def test_a_single_ratio_has_no_known_error_and_differs_from_nothing() -> None:
    found = mean_ratio({"a": [5.0]})
    assert found.value == pytest.approx(5.0)
    assert math.isnan(found.sd)
    assert not found.differs_from(1.0)


def test_a_difference_counts_beyond_two_errors() -> None:
    assert Estimate(1.05, 0.02).differs_from(1.0)
    assert not Estimate(1.03, 0.02).differs_from(1.0)
    assert Estimate(0.9, 0.02).differs_from(1.0)


def test_the_stated_error_of_a_speedup_is_the_scatter_of_repeated_runs() -> None:
    import random

    noise = random.Random(7)

    def one_run() -> Estimate:
        return mean_ratio({str(p): [math.exp(noise.gauss(p, 0.05)) for _ in range(5)] for p in range(6)})

    runs = [one_run() for _ in range(400)]
    scatter = statistics.stdev(math.log(r.value) for r in runs)
    stated = statistics.fmean(r.sd / r.value for r in runs)
    assert stated == pytest.approx(scatter, rel=0.15)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (10, 2.228), (11, 2.201), (20, 2.086), (60, 2.000), (10_000, 1.960)],
)
def test_students_t_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    assert student_t(freedom) == pytest.approx(quantile, abs=0.003)


def test_the_interval_of_few_repeats_is_wider_than_two_errors() -> None:
    triple = [math.exp(-0.1), 1.0, math.exp(0.1)]
    error = 0.1 * math.sqrt(math.pi / 2) / math.sqrt(3)
    found = ratio_interval({"a": triple})
    assert math.log(found.high) == pytest.approx(4.303 * error)
    assert math.log(found.low) == pytest.approx(-4.303 * error)
    of_four = ratio_interval(dict.fromkeys("abcd", triple))
    # Eight degrees of freedom. Pooled, the error of each is the same as before; of the mean it is half.
    assert math.log(of_four.high) == pytest.approx(2.306 * error / 2)


def test_the_interval_without_repeats_is_that_over_prompts_and_a_single_ratio_has_none() -> None:
    found = ratio_interval({"a": [math.exp(0.1)], "b": [math.exp(0.3)]})
    assert math.log(found.low) == pytest.approx(0.2 - 12.706 * 0.1)
    assert math.log(found.high) == pytest.approx(0.2 + 12.706 * 0.1)
    for lone in (ratio_interval({"a": [5.0]}), ratio_interval({})):
        assert math.isnan(lone.low)
        assert math.isnan(lone.high)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    import random

    noise = random.Random(11)
    held = 0
    for _ in range(2000):
        found = ratio_interval({"a": [math.exp(noise.gauss(0.1, 0.05)) for _ in range(3)]})
        held += found.low <= math.exp(0.1) <= found.high
    # A little more than 95 %: the factor of the median is that of many values.
    assert 0.94 <= held / 2000 <= 0.985


@given(rate_lists)
def test_the_geometric_mean_lies_between_the_extremes_and_below_the_mean(values: list[float]) -> None:
    found = geometric_mean(values)
    assert min(values) * (1 - 1e-9) <= found <= max(values) * (1 + 1e-9)
    assert found <= statistics.fmean(values) * (1 + 1e-9)


@given(prompts, st.floats(0.1, 10.0))
def test_a_faster_clock_scales_rates_and_their_spread_alike(
    by_prompt: dict[str, list[float]], factor: float
) -> None:
    before = spread_of_rates(by_prompt)
    after = spread_of_rates({name: [x * factor for x in values] for name, values in by_prompt.items()})
    assert after.value == pytest.approx(before.value * factor, rel=1e-6)
    assert after.sd == pytest.approx(before.sd * factor, rel=1e-6, abs=1e-6, nan_ok=True)


@given(prompts)
def test_turning_every_ratio_over_turns_the_speedup_over_when_medians_allow(
    by_prompt: dict[str, list[float]],
) -> None:
    odd = {name: values[: len(values) - 1 + len(values) % 2] for name, values in by_prompt.items()}
    forward = mean_ratio(odd)
    backward = mean_ratio({name: [1 / x for x in values] for name, values in odd.items()})
    assert forward.value * backward.value == pytest.approx(1.0, rel=1e-6)
    assert backward.sd / backward.value == pytest.approx(
        forward.sd / forward.value, rel=1e-6, abs=1e-6, nan_ok=True
    )


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=15), st.floats(-1e3, 1e3), st.floats(0.5, 20.0))
def test_shifting_and_stretching_values_leaves_their_scores(
    values: list[float], shift: float, stretch: float
) -> None:
    middle = median(values)
    assume(median([abs(x - middle) for x in values]) > 0.01)
    moved = modified_z_scores([x * stretch + shift for x in values])
    assert moved == pytest.approx(modified_z_scores(values), rel=1e-4, abs=1e-4)
