"""Chances as sums of uncertain terms: what an outcome moves, how far, and what uncertainty itself says."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.decode.beliefs import LEAST_VARIANCE, Term, expected_chance, learn, log_odds, sigmoid

terms = st.builds(Term, st.floats(-6.0, 6.0), st.floats(1e-3, 4.0))
variances = st.lists(st.floats(LEAST_VARIANCE, 4.0), min_size=2, max_size=4)


@given(st.floats(0.001, 0.999))
def test_log_odds_and_chances_are_each_others_inverse(chance: float):
    assert sigmoid(log_odds(chance)) == pytest.approx(chance)


@pytest.mark.parametrize("far", [-1e9, 1e9])
def test_log_odds_far_out_are_a_chance_still(far: float):
    assert 0.0 < sigmoid(far) <= 1.0


@given(st.lists(terms, min_size=1, max_size=4))
def test_a_chance_is_expected_nearer_to_a_half_the_less_is_known(believed: list[Term]):
    mean = sum(term.mean for term in believed)
    chances = [expected_chance(believed)]
    for _ in range(3):
        believed[0].variance += 1.0
        chances.append(expected_chance(believed))
    assert chances == sorted(chances, reverse=mean > 0.0)
    assert min(0.5, sigmoid(mean)) <= min(chances) <= max(chances) <= max(0.5, sigmoid(mean))


@pytest.mark.parametrize("mean", [-2.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("variance", [0.1, 0.6, 2.0])
def test_an_expected_chance_is_the_mean_over_all_that_is_possible(mean: float, variance: float):
    """Here by a sum over the bell curve: MacKay's formula is within two hundredths."""
    places = [place / 100.0 for place in range(-500, 501)]
    weights = [math.exp(-place * place / 2) for place in places]
    chances = [sigmoid(mean + place * math.sqrt(variance)) for place in places]
    exact = sum(w * c for w, c in zip(weights, chances, strict=True)) / sum(weights)
    assert expected_chance([Term(mean, variance)]) == pytest.approx(exact, abs=0.02)


@given(st.lists(terms, min_size=1, max_size=4), st.booleans())
def test_an_outcome_moves_every_term_towards_itself_by_its_share_of_the_variance(
    believed: list[Term], held: bool
):
    before = [(term.mean, term.variance) for term in believed]
    learn(believed, held)
    moved = [term.mean - mean for term, (mean, _) in zip(believed, before, strict=True)]
    assert all((step > 0.0) == held for step in moved)
    per_variance = [step / variance for step, (_, variance) in zip(moved, before, strict=True)]
    assert per_variance == pytest.approx([per_variance[0]] * len(moved))


@given(variances, st.booleans(), st.floats(-3.0, 3.0))
def test_every_outcome_makes_surer_and_what_was_known_least_most(
    given_variances: list[float], held: bool, mean: float
):
    believed = [Term(mean, variance) for variance in sorted(given_variances)]
    learn(believed, held)
    left = [term.variance for term in believed]
    assert all(new <= old for new, old in zip(left, sorted(given_variances), strict=True))
    assert left == sorted(left)


def test_a_surprise_moves_more_than_what_was_expected():
    moved = []
    for held in (True, False):
        term = Term(3.0, 0.5)
        learn([term], held)
        moved.append(abs(term.mean - 3.0))
    assert moved[1] > 5 * moved[0]


@given(st.floats(1e-6, 4.0), st.lists(st.booleans(), max_size=200))
def test_a_term_never_becomes_surer_than_the_least_unless_it_began_there(
    variance: float, outcomes: list[bool]
):
    term = Term(0.0, variance)
    for held in outcomes:
        learn([term], held)
    assert min(variance, LEAST_VARIANCE) <= term.variance <= variance


@given(st.lists(terms, min_size=1, max_size=3), st.lists(st.booleans(), max_size=300))
def test_a_chance_stays_a_chance_whatever_is_observed(believed: list[Term], outcomes: list[bool]):
    for held in outcomes:
        learn(believed, held)
    assert 0.0 < expected_chance(believed) < 1.0


@pytest.mark.parametrize("chance", [0.1, 0.5, 0.9])
def test_a_few_hundred_outcomes_tell_a_chance(chance: float):
    random, term, seen = Random(1), Term(0.0, 1.0), []
    for _ in range(1000):
        learn([term], random.random() < chance)
        seen.append(expected_chance([term]))
    assert sum(seen[200:]) / len(seen[200:]) == pytest.approx(chance, abs=0.03)


def test_what_is_kept_follows_a_text_that_changes():
    """A memory of some 250 outcomes."""
    term = Term(0.0, 0.05)
    for number in range(2000):
        learn([term], number % 4 != 0)
    assert expected_chance([term]) == pytest.approx(0.75, abs=0.02)
    for number in range(250):
        learn([term], number % 4 == 0)
    assert expected_chance([term]) < 0.42
    for number in range(350):
        learn([term], number % 4 == 0)
    assert expected_chance([term]) == pytest.approx(0.25, abs=0.04)


def test_two_terms_find_out_which_of_them_it_is():
    """One is in every outcome, the other two in half of them each."""
    random = Random(2)
    common, easy, hard = Term(0.0, 1.0), Term(0.0, 1.0), Term(0.0, 1.0)
    for _ in range(600):
        learn([common, easy], random.random() < 0.9)
        learn([common, hard], random.random() < 0.3)
    assert expected_chance([common, easy]) == pytest.approx(0.9, abs=0.06)
    assert expected_chance([common, hard]) == pytest.approx(0.3, abs=0.1)
