import pytest

from edgespec.errors import UsageError
from edgespec.plan.acceptance import assumed_acceptance, parse_acceptance


def test_smaller_drafts_are_assumed_to_be_right_less_often():
    rates = [assumed_acceptance(params, 70_000).rate for params in (60_000, 8_000, 1_000, 10)]
    assert rates == sorted(rates, reverse=True)
    assert assumed_acceptance(8_030, 70_600).rate == pytest.approx(0.88)


def test_ten_times_the_size_costs_the_same_anywhere_and_there_is_an_end_to_it():
    assert assumed_acceptance(100, 10_000).rate == pytest.approx(assumed_acceptance(1000, 10_000).rate - 0.12)
    assert assumed_acceptance(1, 10**12).rate == 0.4
    assert assumed_acceptance(100, 100).rate == 0.95
    assert assumed_acceptance(1, 10).source == "assumed"


def test_the_last_of_two_statements_counts_and_a_name_before_that_for_all():
    stated = parse_acceptance(["0.8", "small=0.6", "0.7", "small=0.5"])
    assert [stated.of(name).rate for name in ("small", "other")] == [0.5, 0.7]
    assert stated.of("small").source == "as stated"


def test_a_name_may_hold_the_sign_itself():
    assert parse_acceptance(["a=b=0.5"]).of("a=b").rate == 0.5


def test_only_measured_ones_are_wanted_besides_those_that_are_stated():
    stated = parse_acceptance(["measured", "small=0.6"])
    assert stated.only_measured
    assert stated.of("small").rate == 0.6
    assert stated.of("other") is None


@pytest.mark.parametrize("text", ["0", "1", "0.5", "1.0", "5e-1"])
def test_every_share_is_a_rate(text):
    assert parse_acceptance([text]).of("any").rate == float(text)


def test_rates_are_stated_for_all_or_by_name():
    stated = parse_acceptance(["0.8", "small=0.6"])
    assert [stated.of(name).rate for name in ("small", "other")] == [0.6, 0.8]
    assert parse_acceptance(["measured"]).only_measured
    assert parse_acceptance([]).of("any") is None


@pytest.mark.parametrize("text", ["1.2", "-0.1", "nan", "often", "small=", "small=2"])
def test_nonsense_is_named(text):
    with pytest.raises(UsageError, match="acceptance"):
        parse_acceptance([text])
