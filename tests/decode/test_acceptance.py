"""Learnt acceptance: priors that a few dozen observations outweigh, and a memory of a few hundred."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.decode.acceptance import (
    CERTAIN_LEAD,
    PRIOR_WEIGHT,
    Acceptance,
    AnswerRecord,
    Certainty,
    RateTable,
    certainty_bucket,
    lead_bucket,
    match_bucket,
)
from edgespec.decode.ngram import MAX_MATCH, MIN_MATCH


def test_without_observations_a_rate_is_its_prior():
    table = RateTable((0.25, 0.75))
    assert (table.rate(0), table.rate(1)) == (0.25, 0.75)


def test_a_rate_is_the_mean_of_prior_and_observations():
    table = RateTable((0.5,))
    table.count(0, True)
    assert table.rate(0) == pytest.approx((0.5 * PRIOR_WEIGHT + 1) / (PRIOR_WEIGHT + 1))


@given(st.lists(st.booleans(), max_size=400))
def test_a_rate_stays_a_probability_whatever_is_observed(observed: list[bool]):
    table = RateTable((0.9,))
    for accepted in observed:
        table.count(0, accepted)
    assert 0.0 < table.rate(0) < 1.0


def test_a_few_dozen_observations_outweigh_the_prior():
    table = RateTable((0.95,))
    for _ in range(48):
        table.count(0, False)
    assert table.rate(0) < 0.25


def test_the_text_of_now_counts_more_than_the_text_of_long_ago():
    table = RateTable((0.5,))
    for _ in range(1000):
        table.count(0, True)
    for _ in range(300):
        table.count(0, False)
    assert table.rate(0) < 0.25


def test_fading_brings_a_rate_back_to_its_prior_little_by_little():
    table = RateTable((0.9,))
    for _ in range(200):
        table.count(0, False)
    rates = [table.rate(0)]
    for _ in range(20):
        table.fade(0.8)
        rates.append(table.rate(0))
    assert rates == sorted(rates)
    assert rates[0] < 0.15
    assert rates[1] < 0.2
    assert 0.8 < rates[-1] < 0.9


def test_what_was_learnt_of_matches_does_not_fade_with_the_guesses():
    """Matches are learnt from at every step, used or not; guesses fade after an answer that had none."""
    acceptance = Acceptance()
    for _ in range(50):
        acceptance.count_guess(9.0, 0.9, False)
        acceptance.count_match(3, True, False)
    before = acceptance.of_lead(9.0), acceptance.of_certainty(0.9), acceptance.of_match(3, True)
    acceptance.begin_answer(0.5)
    assert (acceptance.of_lead(9.0), acceptance.of_certainty(0.9)) == before[:2]
    acceptance.begin_answer(0.5)
    assert acceptance.of_lead(9.0) > before[0]
    assert acceptance.of_certainty(0.9) > before[1]
    assert acceptance.of_match(3, True) == before[2]


def test_observations_stay_in_their_bucket():
    table = RateTable((0.5, 0.5))
    table.count(1, True)
    assert table.rate(0) == 0.5
    assert table.rate(1) > 0.5


def test_tables_do_not_share_their_counts():
    first, second = Acceptance(), Acceptance()
    first.count_guess(9.0, 0.9, False)
    first.count_match(3, True, False)
    assert second.of_lead(9.0) > first.of_lead(9.0)
    assert second.of_match(3, True) > first.of_match(3, True)


@given(st.floats(0.0, 40.0), st.floats(0.0, 40.0))
def test_a_larger_lead_never_promises_less_to_begin_with(one: float, other: float):
    acceptance = Acceptance()
    low, high = sorted((one, other))
    assert acceptance.of_lead(low) <= acceptance.of_lead(high)


@given(st.integers(2, 24), st.integers(2, 24), st.booleans())
def test_a_longer_match_never_promises_less_to_begin_with(one: int, other: int, agreed: bool):
    acceptance = Acceptance()
    low, high = sorted((one, other))
    assert acceptance.of_match(low, agreed) <= acceptance.of_match(high, agreed)


def test_matches_that_agree_and_matches_that_do_not_are_counted_apart():
    acceptance = Acceptance()
    split = acceptance.of_match(4, False)
    for _ in range(50):
        acceptance.count_match(4, True, False)
    assert acceptance.of_match(4, True) < 0.2
    assert acceptance.of_match(4, False) == split


@given(st.lists(st.one_of(st.floats(-50.0, 50.0), st.just(float("inf")), st.just(float("-inf")))))
def test_certainty_stays_between_0_and_1_whatever_the_target_picks(leads: list[float]):
    """A sampled token may lie far below the best logit: its lead is negative."""
    certainty = Certainty()
    for lead in leads:
        certainty.add(lead)
    assert 0.0 <= certainty.recent <= 1.0
    assert 0.0 <= certainty.lasting <= 1.0


def test_recent_certainty_follows_faster_than_lasting_certainty():
    certainty = Certainty()
    for _ in range(5):
        certainty.add(CERTAIN_LEAD * 2)
    assert 0.5 < certainty.lasting < certainty.recent < 1.0


@pytest.mark.parametrize(
    ("bucket", "least", "most", "table"),
    [
        (lead_bucket, 0.0, 1e9, Acceptance().by_lead),
        (certainty_bucket, 0.0, 1.0, Acceptance().by_certainty),
        (match_bucket, MIN_MATCH, MAX_MATCH + 15, Acceptance().agreed_match),
        (match_bucket, MIN_MATCH, MAX_MATCH + 15, Acceptance().split_match),
    ],
    ids=["lead", "certainty", "agreed match", "split match"],
)
def test_buckets_cover_their_tables_to_both_ends(
    bucket: Callable[[float], int], least: float, most: float, table: RateTable
):
    assert (bucket(least), bucket(most)) == (0, len(table.priors) - 1)


def test_an_answers_record_begins_with_the_tables_word():
    assert AnswerRecord(2.0).adjust(0.8) == pytest.approx(0.8)


def test_an_answer_that_misses_more_than_expected_lowers_every_rate():
    record = AnswerRecord(2.0)
    for _ in range(10):
        record.count(0.9, False)
    assert record.adjust(0.9) < 0.7
    assert record.adjust(0.5) < record.adjust(0.9)


def test_an_answer_without_misses_raises_even_low_rates():
    record = AnswerRecord(2.0)
    for _ in range(40):
        record.count(0.7, True)
    assert record.adjust(0.7) > 0.95
    assert record.adjust(0.3) > 0.85


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans())), st.floats(0.0, 1.0))
def test_an_adjusted_rate_stays_a_probability(outcomes: list[tuple[float, bool]], rate: float):
    record = AnswerRecord(2.0)
    for expected, accepted in outcomes:
        record.count(expected, accepted)
    assert 0.0 < record.adjust(rate) < 1.0
