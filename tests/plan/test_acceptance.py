import pytest

from edgespec.errors import UsageError
from edgespec.plan.acceptance import assumed_acceptance, parse_acceptance


def test_smaller_drafts_are_assumed_to_be_right_less_often():
    rates = [assumed_acceptance(params, 70_000).rate for params in (60_000, 8_000, 1_000, 10)]
    assert rates == sorted(rates, reverse=True)
    assert assumed_acceptance(8_030, 70_600).rate == pytest.approx(0.88)


def test_rates_are_stated_for_all_or_by_name():
    stated = parse_acceptance(["0.8", "small=0.6"])
    assert [stated.of(name).rate for name in ("small", "other")] == [0.6, 0.8]
    assert parse_acceptance(["measured"]).only_measured
    assert parse_acceptance([]).of("any") is None


@pytest.mark.parametrize("text", ["1.2", "-0.1", "nan", "often", "small=", "small=2"])
def test_nonsense_is_named(text):
    with pytest.raises(UsageError, match="acceptance"):
        parse_acceptance([text])
