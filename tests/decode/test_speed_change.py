"""A machine that changes its speed in the middle of an answer, replayed."""

from random import Random

import pytest

from edgespec.decode.chain import Chain
from edgespec.decode.drafters.contract import Quote
from edgespec.decode.machines import recorded_machines
from edgespec.decode.policy import Policy
from edgespec.decode.replay import Guesses, GuessView, Recording
from edgespec.decode.speed_change import AfterChange, replay_speed_change

COSTS = recorded_machines()[0].costs()


def random_answer(random: Random, n_tokens: int) -> tuple[Recording, Guesses]:
    """Guesses that hold three times in four, and mostly tell by their leads."""
    recording = Recording(tuple(range(40)), tuple(random.sample(range(100, 9000), n_tokens)))
    tokens, leads = [], []
    for token in recording.tokens:
        is_right = random.random() < 0.75
        tokens.append(token if is_right else 99)
        leads.append(random.gammavariate(3.0, 2.0) if is_right else random.expovariate(1.0))
    return recording, Guesses((GuessView(0, 0, tuple(tokens), tuple(leads)),))


ANSWERS = [random_answer(Random(seed), 160) for seed in range(12)]
RECORDINGS, GUESSES = [one for one, _ in ANSWERS], [own for _, own in ANSWERS]


def share_right(found: list[AfterChange], begin: int, end: int) -> float:
    rounds = [right for one in found for right in one.was_right[begin:end]]
    return sum(rounds) / len(rounds)


def test_rounds_are_counted_up_to_the_last_wrong_one():
    assert AfterChange((True, False, False, True), 1.0).rounds_until_right == 3
    assert AfterChange((True, True), 1.0).rounds_until_right == 0
    assert AfterChange((), 0.0).rounds_until_right == 0


def test_where_nothing_changes_every_choice_is_right():
    found = replay_speed_change(COSTS, RECORDINGS, GUESSES, 1.0)
    assert share_right(found, 0, 99) > 0.99
    # Half of an answer, with one to four tokens a round.
    assert all(20 < len(one.was_right) < 81 for one in found)
    assert all(20 < one.seconds < 81 for one in found)


@pytest.mark.parametrize("slowdown", [0.5, 2.0])
def test_a_change_confuses_and_then_does_less(slowdown: float):
    found = replay_speed_change(COSTS, RECORDINGS, GUESSES, slowdown)
    assert share_right(found, 0, 8) < min(1.0, share_right(found, 16, 99))
    undisturbed = replay_speed_change(COSTS, RECORDINGS, GUESSES, 1.0)
    lost = sum(one.seconds for one in found) / sum(one.seconds for one in undisturbed) - 1
    assert -0.02 < lost < 0.1


@pytest.mark.parametrize("slowdown", [0.5, 2.0])
def test_a_speed_that_is_known_changes_no_choice(slowdown: float):
    costs = recorded_machines()[0].costs()
    assert costs.draft
    policy = Policy(costs)
    quoted = Quote([0.9] * 12, costs.draft_step_s, costs.draft_step_s)
    before = policy.weigh(Chain(), quoted)
    costs.verify.scale(slowdown)
    costs.draft.scale(slowdown)
    policy.observe_round(1, 1, 0.0, was_read=False)
    quoted = Quote([0.9] * 12, costs.draft_step_s, costs.draft_step_s)
    after = policy.weigh(Chain(), quoted)
    assert (after.count, after.gain) == (before.count, pytest.approx(before.gain))
    assert before.count > 3


def test_costs_stay_as_they_were_and_a_text_without_a_draft_will_do():
    before = COSTS.verify.points
    (found,) = replay_speed_change(COSTS, [Recording((1, 2, 3), tuple(range(10, 40)))], None, 2.0)
    assert found.was_right == (True,) * 15
    assert found.seconds == pytest.approx(15.0)
    assert COSTS.verify.points == before
