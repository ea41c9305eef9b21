"""The policy on reading: what a drafter may read before it guesses."""

from edgespec.decode.beliefs import log_odds
from edgespec.decode.drafters.contract import Reading, Stretch
from edgespec.decode.policy import (
    REST_SHARE,
    REST_TOKENS,
    Policy,
)
from tests.decode.policies import policy_of, readable, step_plainly
from tests.decode.scripted import (
    CHEAP_DRAFT,
    FLAT,
    LINEAR,
    STAIRCASE,
)
from tests.decode.scripted_drafter import ScriptedDrafter, reading_of


def dearest(policy: Policy, log_odds_: float, variance: float = 0.1, **where: int) -> float:
    """The most plain steps that a reading may cost and still be done, to a tenth."""
    return max(
        (
            tenths / 10
            for tenths in range(1000)
            if readable(policy, reading_of(tenths / 10, log_odds_, variance), **where)
        ),
        default=0.0,
    )


def test_a_cheap_reading_is_done_for_the_rest_of_an_answer_and_a_dear_one_is_not():
    policy = policy_of(FLAT)
    assert readable(policy, reading_of(1.0, 2.0))
    assert not readable(policy, reading_of(20.0, 2.0))


def test_the_longer_an_answer_is_under_way_the_more_may_be_read_for_it():
    policy = policy_of(FLAT)
    most = [dearest(policy, 2.0, done=done, remaining=1000) for done in (1, 20, 100)]
    assert most == sorted(set(most))
    assert most[-1] < 0.8 * (REST_TOKENS + REST_SHARE * 100), "no more than it can bring"


def test_for_the_few_tokens_that_are_left_little_is_read():
    policy = policy_of(FLAT)
    most = [dearest(policy, 2.0, done=100, remaining=remaining) for remaining in (2, 10, 1000)]
    assert most == sorted(set(most))
    assert most[0] < 1.5


def test_nothing_is_read_for_guesses_that_would_not_pay():
    for verify, chance in ((LINEAR, 0.95), (STAIRCASE, 0.2), (FLAT, 0.05)):
        assert not readable(policy_of(verify), reading_of(0.1, log_odds(chance), variance=0.01))


def test_not_knowing_has_a_value():
    """With the same mean, what is less known is read sooner: if it is good, that lasts; if it is bad, it is soon found out."""
    policy = policy_of(FLAT)
    assert not readable(policy, reading_of(0.5, -0.5, variance=0.1))
    assert readable(policy, reading_of(0.5, -0.5, variance=2.0))
    least = [
        next(place for place in range(-60, 60) if readable(policy, reading_of(0.5, place / 20, variance)))
        for variance in (0.1, 0.5, 1.0, 2.0, 4.0)
    ]
    assert least == sorted(set(least), reverse=True)


def test_of_several_readings_the_one_that_promises_most_is_done():
    policy, drafter = policy_of(FLAT), ScriptedDrafter(step_s=0.25)
    little, enough, all_of_it = (
        reading_of(0.5, 0.2, n_rows=24),
        reading_of(1.0, 1.5, n_rows=64),
        reading_of(30.0, 1.6, n_rows=400),
    )
    readings = [little, enough, all_of_it]
    assert policy.choose_reading(drafter, readings, 50, 1000) is enough
    assert policy.choose_reading(drafter, readings, 1000, 10_000) in (enough, all_of_it)
    assert policy.choose_reading(drafter, [all_of_it], 1, 100) is None


def test_what_is_lost_at_first_counts_for_as_long_as_it_lasts():
    """Twelve poor guesses and then good ones: worth it for a long answer only."""
    outlook = (Stretch(12.0, -3.0, 0.1), Stretch(0.0, 3.0, 0.1))
    reading = Reading(24, True, 0.5, outlook)
    policy = policy_of(FLAT)
    assert not readable(policy, reading, done=2)
    assert readable(policy, reading, done=100, remaining=1000)


def test_a_model_must_beat_what_the_text_wins_already():
    """Rounds of the text alone have brought a token for a third of a step."""
    plain, copying = policy_of(FLAT, CHEAP_DRAFT), policy_of(FLAT, CHEAP_DRAFT)
    for _ in range(40):
        plain.observe_round(1, 1, 0.0, was_read=False)
        copying.observe_round(4, 8, 0.0, was_read=False)
    good = reading_of(0.5, 1.5)
    assert readable(plain, good)
    assert not readable(copying, good)
    assert readable(copying, reading_of(0.5, 6.0)), "one that is nearly always right does"


def test_what_a_round_with_the_model_brought_says_nothing_of_the_others():
    policy = policy_of(FLAT)
    for _ in range(40):
        policy.observe_round(4, 8, 0.0, was_read=True)
    assert readable(policy, reading_of(0.5, 1.5))


def test_what_the_text_has_won_long_ago_is_forgotten():
    policy = policy_of(FLAT)
    for _ in range(40):
        policy.observe_round(4, 8, 0.0, was_read=False)
    assert not readable(policy, reading_of(0.5, 1.5))
    step_plainly(policy, 60)
    assert readable(policy, reading_of(0.5, 1.5))
