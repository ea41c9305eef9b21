"""What is kept of a pair: measured priors that tokens of its own outweigh, each in its bucket."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.decode.acceptance import (
    ANSWER_VARIANCE,
    ENOUGH_READ,
    MATCH_ANSWER_VARIANCE,
    USUAL_ACCEPTANCE,
    Acceptance,
)
from edgespec.decode.beliefs import LEAST_VARIANCE, Term, Terms, expected_chance, learn
from edgespec.decode.drafters.ngram_index import MAX_MATCH, MIN_MATCH
from edgespec.decode.policy import MAX_DRAFT

TABLES = ("model", "by_context", "by_lead", "agreed_match", "split_match")


def chance(*terms: Term) -> float:
    return expected_chance(terms)


def learn_often(terms: Terms, held: bool, times: int) -> None:
    for _ in range(times):
        learn(terms, held)


def test_without_outcomes_a_draft_is_worth_the_usual():
    (model,) = Acceptance().model
    assert chance(model) == pytest.approx(USUAL_ACCEPTANCE, abs=0.02)


@pytest.mark.parametrize("measured", [0.2, 0.6, 0.95])
def test_an_acceptance_that_was_measured_elsewhere_is_what_a_draft_begins_with(measured: float):
    acceptance, unknown = Acceptance.measured(measured), Acceptance()
    assert chance(*acceptance.model) == pytest.approx(measured, abs=0.01)
    assert acceptance.model[0].variance < unknown.model[0].variance, "and it is surer of it"
    assert acceptance.by_lead == unknown.by_lead


@given(st.floats(0.0, 40.0), st.floats(0.0, 40.0))
def test_a_larger_lead_never_promises_less_to_begin_with(one: float, other: float):
    acceptance = Acceptance()
    low, high = sorted((one, other))
    assert acceptance.of_lead(low).mean <= acceptance.of_lead(high).mean


@given(st.integers(2, 24), st.integers(2, 24), st.booleans())
def test_a_longer_match_never_promises_less_to_begin_with(one: int, other: int, agreed: bool):
    acceptance = Acceptance()
    low, high = sorted((one, other))
    assert acceptance.of_match(low, agreed).mean <= acceptance.of_match(high, agreed).mean


@given(st.integers(2, MAX_MATCH + MAX_DRAFT))
def test_matches_that_agree_promise_more_than_matches_that_do_not(length: int):
    acceptance = Acceptance()
    assert acceptance.of_match(length, True).mean > acceptance.of_match(length, False).mean


@given(st.integers(0, ENOUGH_READ - 1), st.integers(0, ENOUGH_READ - 1))
def test_having_read_less_never_promises_more_and_always_costs_something(one: int, other: int):
    acceptance = Acceptance()
    low, high = sorted((one, other))
    assert acceptance.of_context(low).mean <= acceptance.of_context(high).mean < 0.0


def test_buckets_cover_their_tables_to_both_ends():
    acceptance = Acceptance()
    for of, least, most, table in (
        (acceptance.of_lead, 0.0, 1e9, acceptance.by_lead),
        (acceptance.of_context, 0, ENOUGH_READ - 1, acceptance.by_context),
        (lambda n: acceptance.of_match(n, True), MIN_MATCH, MAX_MATCH + MAX_DRAFT, acceptance.agreed_match),
        (lambda n: acceptance.of_match(n, False), MIN_MATCH, MAX_MATCH + MAX_DRAFT, acceptance.split_match),
    ):
        assert of(least) is table[0]
        assert of(most) is table[-1]


def test_every_bucket_can_be_reached():
    acceptance = Acceptance()
    reached = [
        ({id(acceptance.of_lead(tenth / 10)) for tenth in range(200)}, acceptance.by_lead),
        ({id(acceptance.of_context(n_read)) for n_read in range(ENOUGH_READ)}, acceptance.by_context),
        ({id(acceptance.of_match(length, True)) for length in range(2, 60)}, acceptance.agreed_match),
        ({id(acceptance.of_match(length, False)) for length in range(2, 60)}, acceptance.split_match),
    ]
    assert all(found == {id(term) for term in table} for found, table in reached)


def test_outcomes_stay_in_their_bucket():
    acceptance = Acceptance()
    before = deepcopy(acceptance)
    learn([acceptance.of_lead(0.3)], False)
    changed = [
        (table, place)
        for table in TABLES
        for place, term in enumerate(getattr(acceptance, table))
        if term != getattr(before, table)[place]
    ]
    assert changed == [("by_lead", 1)]


def test_pairs_do_not_share_what_they_learn():
    first, second = Acceptance(), Acceptance()
    for table in TABLES:
        learn(getattr(first, table)[:1], False)
    assert second == Acceptance() != first


def test_a_few_hundred_outcomes_outweigh_a_prior():
    acceptance = Acceptance()
    sure = acceptance.of_lead(9.0)
    assert chance(sure) > 0.98
    learn_often([sure], False, 100)
    assert chance(sure) < 0.75
    learn_often([sure], False, 200)
    assert chance(sure) < 0.3


def test_an_answer_moves_its_own_term_first_and_what_is_kept_a_little():
    """An answer may differ by more than a pair does: what it shows is taken for its own."""
    for kept, variance in (
        (Acceptance().of_lead(2.0), ANSWER_VARIANCE),
        (Acceptance().of_match(8, True), MATCH_ANSWER_VARIANCE),
    ):
        before, answer = kept.mean, Term(0.0, variance)
        learn_often([kept, answer], False, 10)
        assert -answer.mean > 5 * (before - kept.mean) > 0.0
        assert chance(kept, answer) < 0.55
        assert chance(kept, Term(0.0, variance)) > 0.6


@pytest.mark.parametrize("acceptance", [Acceptance(), Acceptance.measured(0.6)], ids=["usual", "measured"])
def test_what_is_known_of_a_model_that_nobody_asks_is_forgotten_little_by_little(acceptance: Acceptance):
    """Else one that was bad at texts of one kind would never be tried on another."""
    first, lead = deepcopy(acceptance.model[0]), acceptance.of_lead(9.0)
    learn_often([acceptance.model[0]], False, 100)
    learn_often([lead], False, 10)
    kept = deepcopy(lead)
    seen = []
    for _ in range(30):
        acceptance.begin_answer()
        seen.append(deepcopy(acceptance.model[0]))
    for known in ([term.mean for term in seen], [term.variance for term in seen]):
        assert known == sorted(set(known))
    assert chance(seen[-1]) == pytest.approx(chance(first), abs=0.03)
    assert seen[-1].variance == pytest.approx(first.variance, rel=0.01)
    assert lead == kept, "what its leads mean is no matter of the text"


def test_what_is_known_of_a_model_that_guesses_stays():
    acceptance = Acceptance()
    learn_often(acceptance.model, False, 100)
    kept = deepcopy(acceptance.model)
    for _ in range(30):
        acceptance.begin_answer()
        acceptance.model_guessed = True
    assert acceptance.model == kept


def test_every_prior_leaves_room_to_learn():
    """What is kept of what was not read is a shape that is the same for all pairs: it begins surer than the rest."""
    acceptance = Acceptance()
    surest = {table: min(term.variance for term in getattr(acceptance, table)) for table in TABLES}
    assert surest.pop("by_context") > 0.0
    assert min(surest.values()) > LEAST_VARIANCE
