"""The numbers of a benchmark, free of any other module: medians, geometric means, ratios with their error, outliers.

A value that cannot be known (the spread of one measurement) is `nan` here and `null` in JSON.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

OUTLIER_DEVIATIONS: Final = 10.0
"""How many estimated standard deviations from the median make an outlier (hyperfine's value)."""

_MAD_TO_SD: Final = 1.4826
"""Standard deviation over median absolute deviation, of normal noise: 1 / Phi^-1(3/4)."""
_MEDIAN_SE_FACTOR: Final = math.sqrt(math.pi / 2)
"""Standard error of a median over that of a mean, of much normal noise."""
_SURE_ERRORS: Final = 2.0
"""About 95 % of normal noise lies within so many standard errors."""
_SURE_Z: Final = 1.959964
"""95 % of normal noise lies within so many standard errors, where the error is known and not estimated."""
_STUDENT_T: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""The same for an error that is estimated with 1, 2, ... 10 degrees of freedom: Student's t, 0.975 quantile."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with one standard error or deviation; `sd` is `nan` when a single measurement cannot tell."""

    value: float
    sd: float

    def differs_from(self, other: float) -> bool:
        """Whether `other` lies outside two standard errors (about 95 %); never true while the error is unknown."""
        return abs(self.value - other) > _SURE_ERRORS * self.sd


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a figure lies with 95 % confidence; `nan` where a single measurement cannot tell."""

    low: float
    high: float


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle; `nan` for no values."""
    return statistics.median(values) if values else math.nan


def sample_sd(values: Sequence[float]) -> float:
    """Standard deviation with n - 1 degrees of freedom; `nan` for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def geometric_mean(values: Sequence[float]) -> float:
    """exp of the mean logarithm; `nan` for no values. Every value must be above zero."""
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def ratio(a: Estimate, b: Estimate) -> Estimate:
    """a / b with first-order propagated error, the two taken as independent."""
    if b.value == 0:
        return Estimate(math.nan, math.nan)
    value = a.value / b.value
    if a.value == 0:
        return Estimate(0.0, abs(a.sd / b.value))
    return Estimate(value, abs(value) * math.hypot(a.sd / a.value, b.sd / b.value))


def modified_z_scores(values: Sequence[float]) -> list[float]:
    """(x - median) / (1.4826 MAD): distance from the median in estimated standard deviations.

    Source: Iglewicz and Hoaglin (1993), in the form that hyperfine uses: when more than half of the values are
    equal the MAD is zero, and then any value that differs at all gets a huge score.
    """
    middle = median(values)
    spread = _MAD_TO_SD * median([abs(x - middle) for x in values])
    smallest = 1e-12 * max(1.0, abs(middle)) if values else 1.0
    return [(x - middle) / max(spread, smallest) for x in values]


def outliers(values: Sequence[float]) -> tuple[int, ...]:
    """Indices of the values more than `OUTLIER_DEVIATIONS` away from the median."""
    scores = modified_z_scores(values)
    return tuple(i for i, score in enumerate(scores) if abs(score) > OUTLIER_DEVIATIONS)


def pooled_log_sd(groups: Iterable[Sequence[float]]) -> float:
    """Standard deviation of the logarithm within groups, pooled over all groups.

    Each group is one prompt's values over the repeats, so that the differences between prompts do not count.
    `nan` when no group has two values.
    """
    squares, freedom = 0.0, 0
    for group in groups:
        logs = [math.log(x) for x in group]
        centre = statistics.fmean(logs) if logs else 0.0
        squares += sum((x - centre) ** 2 for x in logs)
        freedom += max(len(logs) - 1, 0)
    return math.sqrt(squares / freedom) if freedom else math.nan


def spread_of_rates(by_prompt: Mapping[str, Sequence[float]]) -> Estimate:
    """A rate and its spread. `by_prompt`: positive rates of each prompt, one per repeat.

    The value is the geometric mean over prompts of the median over repeats. The deviation is that of one answer
    around its own prompt (`pooled_log_sd`), scaled to the value; with one repeat it is the deviation between prompts.
    """
    middles = [median(values) for values in by_prompt.values() if values]
    value = geometric_mean(middles)
    within = pooled_log_sd(by_prompt.values())
    if math.isnan(within):
        within = sample_sd([math.log(x) for x in middles])
    return Estimate(value, value * within)


def mean_ratio(by_prompt: Mapping[str, Sequence[float]]) -> Estimate:
    """A speed-up and its standard error. `by_prompt`: positive paired ratios of each prompt, one per repeat.

    The value is the geometric mean over prompts of the median over repeats. Its error, to first order
    (sd(x) = x sd(log x)):

    - with repeats, what another run over these same prompts would scatter: the pooled deviation s of the log-ratio
      within prompts gives each prompt's median a variance s^2 / n (times pi / 2 from three repeats on, the
      efficiency of a median for normal noise), and the mean over P prompts has 1 / P^2 of their sum. Differences
      between prompts are not an error: they are what `by_category` shows.
    - with one repeat the noise cannot be told from the differences between prompts, so the error is the sample
      deviation of the log-ratio over prompts over sqrt(P): larger, and honest for "prompts like these".
    - `nan` for a single ratio.
    """
    value, error, _ = _mean_log_ratio(by_prompt)
    return Estimate(value, value * error)


def ratio_interval(by_prompt: Mapping[str, Sequence[float]]) -> Interval:
    """The 95 % interval of `mean_ratio`: as many of its errors around the logarithm as Student's t wants.

    Three repeats of one prompt tell their own scatter badly, so their interval is more than twice as wide as one of many
    prompts: 4.3 errors instead of 2.
    """
    value, error, freedom = _mean_log_ratio(by_prompt)
    if math.isnan(error):
        return Interval(math.nan, math.nan)
    width = math.exp(student_t(freedom) * error)
    return Interval(value / width, value * width)


def student_t(freedom: int) -> float:
    """The 0.975 quantile of Student's t with that many degrees of freedom, at least 1.

    Source: from 11 on, the first terms of Fisher and Cornish (1960), which are right to 0.1 % there.
    """
    if freedom <= len(_STUDENT_T):
        return _STUDENT_T[freedom - 1]
    z = _SURE_Z
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _mean_log_ratio(by_prompt: Mapping[str, Sequence[float]]) -> tuple[float, float, int]:
    """A speed-up, the standard error of its logarithm, and the degrees of freedom of that error."""
    groups = [values for values in by_prompt.values() if values]
    middles = [median(values) for values in groups]
    value = geometric_mean(middles)
    within = pooled_log_sd(groups)
    if math.isnan(within):
        error = sample_sd([math.log(x) for x in middles]) / math.sqrt(max(len(middles), 1))
        return value, error, len(middles) - 1
    variances = [(within * _median_factor(len(values))) ** 2 / len(values) for values in groups]
    error = math.sqrt(math.fsum(variances)) / len(groups)
    return value, error, sum(len(values) - 1 for values in groups)


def _median_factor(n: int) -> float:
    """Standard error of a median over that of a mean; for one or two values the two are the same thing."""
    return _MEDIAN_SE_FACTOR if n > 2 else 1.0
