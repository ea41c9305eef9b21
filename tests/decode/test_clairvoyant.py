"""The least time of a recorded answer: what is best by hand and by trying everything, and no replay below it."""

import copy
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.chain import Chain
from edgespec.decode.clairvoyant import Clairvoyant
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.drafters.contract import Drafter, Quote, Reading
from edgespec.decode.generate import Generator
from edgespec.decode.machines import RecordedMachine, recorded_machines
from edgespec.decode.policy import MAX_DRAFT, Extension, Mode
from edgespec.decode.replay import Guesses, GuessView, Recording, Replay, ReplayClock

WRONG = 999
SHORT_PROMPT = (1, 2, 3)


def guesses_of(recording: Recording, *held: Sequence[bool], begins: Sequence[int] = (0,)) -> Guesses:
    """A view for each beginning: right where its draft held."""
    views = [
        GuessView(
            begin,
            0,
            tuple(token if right else WRONG for token, right in zip(recording.tokens, own, strict=True)),
            tuple(6.0 if right else 0.3 for right in own),
        )
        for begin, own in zip(begins, held, strict=True)
    ]
    return Guesses(tuple(views))


def pair(verify: dict[int, float], draft: dict[int, float]) -> PairCosts:
    return PairCosts(CostCurve(verify), CostCurve(draft))


def fresh(count: int, prompt: tuple[int, ...] = SHORT_PROMPT) -> Recording:
    """An answer without repetition."""
    return Recording(prompt, tuple(range(100, 100 + count)))


def random_recording(random: Random, n_prompt: int, n_tokens: int) -> Recording:
    """Text of few different tokens, so that it repeats itself; at times long stretches do."""
    text = [random.randrange(6) for _ in range(n_prompt)]
    while len(text) < n_prompt + n_tokens:
        start = random.randrange(len(text))
        text += (
            text[start : start + random.randint(1, 12)] if random.random() < 0.5 else [random.randrange(6)]
        )
    return Recording(tuple(text[:n_prompt]), tuple(text[n_prompt : n_prompt + n_tokens]))


def random_guesses(random: Random, recording: Recording) -> Guesses:
    """Two views that are right in different places."""
    n, acceptance = len(recording.tokens), random.random()
    held = [[random.random() < acceptance for _ in range(n)] for _ in range(2)]
    return guesses_of(recording, *held, begins=(0, max(len(recording.prompt) - 24, 0)))


def random_curve(random: Random, step_s: float) -> CostCurve:
    """Any staircase: it may fall."""
    rows = sorted({1, *random.sample(range(2, 60), 5)})
    return CostCurve({count: step_s * random.uniform(0.5, 3.0) * count**0.5 for count in rows})


def test_without_drafts_every_token_is_a_plain_step():
    assert Clairvoyant(fresh(9)).decode_s(pair({1: 2.0}, {1: 0.1})) == 16.0
    assert Clairvoyant(fresh(9)).speedup(pair({1: 2.0}, {1: 0.1})) == 1.0


def test_a_draft_that_is_always_right_reads_once_and_is_verified_once():
    answer = fresh(5)
    knows = Clairvoyant(answer, guesses_of(answer, [True] * 5))
    # The prompt and a token are read with the first guess, and each further guess reads the one before.
    costs = pair({1: 1.0, 4: 1.3}, {1: 0.1, 4: 0.2})
    assert knows.decode_s(costs) == pytest.approx(0.2 + 0.1 + 0.1 + 1.3)


def test_a_draft_that_is_too_dear_is_left_alone():
    answer = fresh(5)
    knows = Clairvoyant(answer, guesses_of(answer, [True] * 5))
    assert knows.decode_s(pair({1: 1.0, 4: 1.3}, {1: 1.0, 4: 4.0})) == 4.0


def test_a_guess_that_does_not_hold_is_worth_nothing():
    answer = fresh(5)
    held = [True, False, False, False, False]
    assert Clairvoyant(answer, guesses_of(answer, held)).decode_s(pair({1: 1.0, 4: 1.0}, {1: 0.01})) == 4.0


def test_text_that_repeats_itself_is_copied_in_batches_of_sixteen():
    phrase = tuple(range(50, 90))
    copying = Recording((*phrase, 7), (*phrase, 8))
    costs = PairCosts(CostCurve({1: 1.0, 16: 1.5}))
    # Two tokens begin the match, the first of them with the prompt. Of the other 39 that follow, 38 are copied.
    assert Clairvoyant(copying).decode_s(costs) == pytest.approx(1.0 + 2 * 1.5 + (1.0 + 0.5 * 6 / 15))


def test_model_and_text_go_on_where_the_other_stops():
    # What the model guesses begins a match; behind what is copied the model guesses again.
    copied = (50, 51, 52, 53)
    answer = Recording((*copied, 7), (90, 50, 51, 52, 53, 91, 92))
    held = [False, True, True, False, False, True, False]
    knows = Clairvoyant(answer, guesses_of(answer, held))
    costs = pair({1: 1.0, 6: 1.2}, {1: 0.1, 3: 0.12, 6: 0.15})
    # One round: 6 tokens read for the first guess, 1 for the second, 3 for the third behind the two copied ones.
    assert knows.decode_s(costs) == pytest.approx(0.15 + 0.1 + 0.12 + 1.2)


def test_a_window_may_be_worse_than_all_of_the_text():
    prompt = tuple(range(1000, 1080))
    answer = fresh(9, prompt)
    whole, window = [True] * 9, [False] * 9
    costs = pair({1: 1.0, 8: 1.0}, {1: 0.01, 24: 0.1, 81: 0.9})
    cheap = guesses_of(answer, whole, whole, begins=(0, len(prompt) - 24))
    dear = guesses_of(answer, whole, window, begins=(0, len(prompt) - 24))
    assert Clairvoyant(answer, cheap).decode_s(costs) < 1.3
    # A window of 64 begins before that of 24, and so has the guesses of the view before it.
    between = 0.1 + 0.8 * (64 - 24) / (81 - 24)
    assert Clairvoyant(answer, dear).decode_s(costs) == pytest.approx(between + 6 * 0.01 + 1.0)


def test_a_round_is_verified_with_more_rows_where_they_cost_less():
    answer = fresh(3)
    knows = Clairvoyant(answer, guesses_of(answer, [True] * 3))
    assert knows.decode_s(pair({1: 1.0, 2: 1.7, 4: 1.5}, {1: 0.1, 4: 0.1})) == pytest.approx(1.6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_replay_is_faster(seed: int):
    random = Random(seed)
    recordings = [random_recording(random, random.randint(3, 90), random.randint(2, 50)) for _ in range(2)]
    guesses = [random_guesses(random, one) for one in recordings]
    costs = PairCosts(random_curve(random, 1.0), random_curve(random, 0.1))
    if random.random() < 0.5:
        costs = random.choice(recorded_machines()).costs()
    best = [Clairvoyant(one, own).speedup(costs) for one, own in zip(recordings, guesses, strict=True)]
    replays = [Replay(costs, Mode(mode)) for mode in Mode]
    replays += [Replay(costs, draft_length=length) for length in (1, 2, 4, MAX_DRAFT)]
    for replay in replays:
        for most, played in zip(best, replay.run(recordings, guesses), strict=True):
            assert played.speedup <= most * (1 + 1e-9)
    for one, own, most in zip(recordings, guesses, best, strict=True):
        plain_s = (len(one.tokens) - 1) * costs.step_s
        for _ in range(5):
            assert plain_s / play_whim(one, own, costs, random) <= most * (1 + 1e-9)


class Whim:
    """A policy that does anything: with luck the best."""

    def __init__(self, costs: PairCosts, random: Random) -> None:
        self.costs, self._random = costs, random

    def begin(self) -> None:
        pass

    def most(self, remaining: int) -> int:
        return min(self._random.choice([0, 1, 2, 3, MAX_DRAFT]), remaining - 1)

    def choose_reading(
        self, drafter: Drafter, readings: Sequence[Reading], done: int, remaining: int
    ) -> Reading | None:
        return self._random.choice([None, *readings])

    def weigh(self, chain: Chain, quote: Quote) -> Extension:
        return Extension(self._random.randint(1, 4), self._random.uniform(-0.3, 1.0), quote)

    def count_worth_verifying(self, chain: Chain) -> int:
        return self._random.choice([len(chain.guesses), self._random.randint(0, len(chain.guesses))])

    def observe_round(self, tokens: int, rows: int, drafts_s: float, *, was_read: bool) -> None:
        pass


def play_whim(recording: Recording, guesses: Guesses, costs: PairCosts, random: Random) -> float:
    replay, clock = Replay(costs), ReplayClock()
    learnt = copy.deepcopy(costs)
    drafters = replay.open_drafters(recording, guesses, learnt, Acceptance(), clock)
    policy = Whim(learnt, random)
    generator = Generator(replay.open_target(recording, clock), drafters, policy, clock)
    for _ in generator.generate(recording.prompt, len(recording.tokens)):
        pass
    return generator.stats.decode_s


@pytest.mark.parametrize("machine", recorded_machines()[:3], ids=lambda machine: machine.name)
@pytest.mark.parametrize("seed", range(4))
def test_trying_everything_finds_the_same(machine: RecordedMachine, seed: int):
    random = Random(seed)
    recording = random_recording(random, 8, 7)
    guesses = random_guesses(random, recording)
    costs = machine.costs()
    least_s = Clairvoyant(recording, guesses).decode_s(costs)
    found_s = min(play_whim(recording, guesses, costs, random) for _ in range(4000))
    assert found_s == pytest.approx(least_s)
