"""The time of a search, on a clock of the test's."""

from edgespec.tune.budget import TimeBudget
from tests.decode.scripted import FakeClock


def test_time_counts_from_the_beginning_whatever_the_clock_shows():
    clock = FakeClock(1000.0)
    budget = TimeBudget(100.0, clock)
    clock.spend(30.0)
    assert (budget.used_s, budget.left_s) == (30.0, 70.0)
    clock.spend(90.0)
    assert budget.left_s == -20.0


def test_variants_are_made_as_long_as_the_share_for_the_benchmark_is_whole():
    clock = FakeClock()
    budget = TimeBudget(100.0, clock)
    clock.spend(54.0)
    assert budget.allows_another()
    clock.spend(1.0)
    assert not budget.allows_another()
