"""A round's draft: who goes on behind whom, who reads, who is out of it, and what is learnt of it."""

import pytest

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.chain import Chain
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.drafters.contract import Drafter, Guess
from edgespec.decode.drafters.draft_model import ModelDrafter
from edgespec.decode.drafters.ngrams import NgramDrafter
from edgespec.decode.drafting import Drafted, Drafting
from edgespec.decode.fixed_policy import FixedPolicy
from edgespec.decode.policy import MAX_DRAFT, DraftingPolicy, Policy
from edgespec.decode.token import DraftSource
from tests.decode.scripted import (
    CHEAP_DRAFT,
    FLAT,
    LINEAR,
    USUAL_DRAFT,
    FakeClock,
    ScriptedDraft,
    fresh_tokens,
    script_of,
)
from tests.decode.scripted_drafter import ScriptedDrafter, reading_of, term

MODEL, NGRAM = DraftSource.MODEL, DraftSource.NGRAM
SAID = tuple(range(100, 140))


def policy_of(verify: dict[int, float] = FLAT, draft: dict[int, float] | None = None) -> Policy:
    return Policy(PairCosts(CostCurve(verify), CostCurve(draft) if draft else None))


def drafting_of(*drafters: Drafter, policy: DraftingPolicy | None = None) -> Drafting:
    drafting = Drafting(drafters, policy or policy_of(), FakeClock())
    drafting.begin([1, 2, 3])
    return drafting


def first_round(*drafters: Drafter, policy: DraftingPolicy | None = None, remaining: int = 100) -> Drafted:
    return drafting_of(*drafters, policy=policy).draft(1, remaining)


def sources(drafted: Drafted) -> list[DraftSource]:
    return [guess.source for guess in drafted.chain.guesses]


# The chain


def guess_of(token: int, chance: float) -> Guess:
    return Guess(token, MODEL, chance, ())


def test_a_chain_adds_up_what_it_is_expected_to_bring():
    chain = Chain()
    assert (chain.reach, chain.gained) == (1.0, [1.0])
    chain.extend([guess_of(5, 0.9), guess_of(6, 0.5)])
    assert chain.tokens == [5, 6]
    assert chain.reach == pytest.approx(0.45)
    assert chain.gained == pytest.approx([1.0, 1.9, 2.35])
    chain.extend([guess_of(7, 0.2)])
    assert chain.reach == pytest.approx(0.09)
    assert chain.gained[-1] == pytest.approx(2.44)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_chain_that_is_cut_keeps_its_beginning(count: int):
    chain = Chain()
    chain.extend([guess_of(5, 0.9), guess_of(6, 0.5)])
    chain.cut(count)
    assert chain.tokens == [guess.token for guess in chain.guesses] == [5, 6][:count]
    assert chain.gained == pytest.approx([1.0, 1.9, 2.35][: count + 1])


# Who goes on


def test_nobody_drafts_nothing():
    assert first_round().chain.tokens == []


def test_whoever_sees_ahead_says_all_that_it_is_asked_for_at_once():
    text = ScriptedDrafter(says=SAID, sees_ahead=True, source=NGRAM)
    drafted = first_round(text)
    assert drafted.chain.tokens == list(SAID[:MAX_DRAFT])
    assert text.calls == [([], MAX_DRAFT, None)]


def test_whoever_does_not_is_asked_one_by_one_behind_what_it_said():
    model = ScriptedDrafter(says=SAID, step_s=0.01)
    drafted = first_round(model)
    assert drafted.chain.tokens == list(SAID[:MAX_DRAFT])
    assert [chain for chain, _, _ in model.calls] == [list(SAID[:count]) for count in range(MAX_DRAFT)]


def test_the_better_quote_goes_first():
    good = ScriptedDrafter(chances=(0.9,) * 3, says=SAID, sees_ahead=True)
    poor = ScriptedDrafter(chances=(0.6,) * 3, says=SAID, sees_ahead=True, source=NGRAM)
    for drafters in ((good, poor), (poor, good)):
        assert sources(first_round(*drafters))[:3] == [MODEL] * 3


def test_a_free_quote_goes_before_a_dear_one_that_is_a_little_better():
    text = ScriptedDrafter(chances=(0.8,) * 15, says=SAID, sees_ahead=True, source=NGRAM)
    model = ScriptedDrafter(chances=(0.85,) * 15, says=SAID, step_s=0.25)
    assert sources(first_round(text, model))[0] is NGRAM


def test_the_model_goes_on_where_the_text_ends():
    """Two tokens are all that the text has; the model comes behind them, and has them in its chain."""
    text = ScriptedDrafter(chances=(0.99, 0.99), says=SAID, sees_ahead=True, source=NGRAM)
    model = ScriptedDrafter(chances=(0.6,) * 15, says=SAID, step_s=0.1)
    drafted = first_round(text, model)
    assert drafted.chain.tokens[:3] == list(SAID[:3])
    assert sources(drafted)[:3] == [NGRAM, NGRAM, MODEL]
    assert model.calls[0][0] == list(SAID[:2])


def test_a_model_that_runs_into_a_sure_match_leaves_the_rest_to_the_text():
    """The real ones: behind the model's guess the text has stood before, for longer and longer."""
    passage = list(range(10, 60))
    script = script_of([*passage, 7, *passage[:30]], lead=4.0)
    history = [*script.prompt, *passage, 7, *passage[:1]]
    costs, acceptance, clock = PairCosts(CostCurve(FLAT), CostCurve(USUAL_DRAFT)), Acceptance(), FakeClock()
    model = ScriptedDraft(script, clock, CostCurve(USUAL_DRAFT).cost)
    drafters = [NgramDrafter(acceptance), ModelDrafter(model, costs, acceptance, clock)]
    drafting = Drafting(drafters, Policy(costs), clock)
    drafting.begin(history)
    drafted = drafting.draft(30, 100)
    assert drafted.chain.tokens[:6] == passage[1:7]
    assert sources(drafted)[:3] == [MODEL, NGRAM, NGRAM]
    assert sources(drafted).count(MODEL) == 1
    assert len(drafted.chain.tokens) > 6


def test_whoever_has_said_all_it_was_asked_for_waits_for_somebody_else():
    """Else it would be asked again for what it would not say."""
    text = ScriptedDrafter(chances=(0.9,), says=SAID, sees_ahead=True, source=NGRAM)
    model = ScriptedDrafter(chances=(0.9,), says=SAID, step_s=0.02)
    drafted = first_round(text, model)
    assert sources(drafted)[:4] == [NGRAM, MODEL, NGRAM, MODEL]
    assert sources(first_round(ScriptedDrafter(chances=(0.9,), says=SAID, sees_ahead=True))) == [MODEL]


def test_a_drafter_without_a_word_is_out_of_the_round():
    silent = ScriptedDrafter(chances=(0.95,) * 15)
    text = ScriptedDrafter(chances=(0.6,) * 3, says=SAID, sees_ahead=True, source=NGRAM)
    drafting = drafting_of(silent, text)
    drafted = drafting.draft(1, 100)
    assert sources(drafted) == [NGRAM] * 3
    assert len(silent.calls) == 1
    drafting.observe(drafted, [SAID[0]])
    drafting.draft(2, 100)
    assert len(silent.calls) == 2, "and back in the next one"


def test_where_rows_cost_what_they_bring_nobody_goes_on():
    drafted = first_round(ScriptedDrafter(says=SAID, sees_ahead=True), policy=policy_of(LINEAR))
    assert drafted.chain.tokens == []


@pytest.mark.parametrize("remaining", [1, 2, 5])
def test_no_more_is_drafted_than_the_answer_has_room_for(remaining: int):
    for drafter in (ScriptedDrafter(says=SAID, sees_ahead=True), ScriptedDrafter(says=SAID)):
        assert len(first_round(drafter, remaining=remaining).chain.tokens) == remaining - 1


def test_what_turns_out_doubtful_goes_no_further_than_it_is_worth():
    """Each was worth guessing before it was known how sure it would be."""
    drafted = first_round(ScriptedDrafter(says=SAID, step_s=0.01, turns_out=0.04))
    assert drafted.chain.tokens == []
    assert drafted.spent_s >= 0.01


# Who reads


def test_a_reading_that_pays_is_done_with_the_first_guess_and_once():
    reading = reading_of(0.5, 2.0)
    model = ScriptedDrafter(says=SAID, step_s=0.05, to_read=(reading,))
    drafted = first_round(model)
    assert drafted.was_read
    assert [read for _, _, read in model.calls][:2] == [reading, None]
    steps = len(drafted.chain.tokens) * 0.05
    assert drafted.spent_s == pytest.approx(0.5 + steps)


def test_a_reading_that_does_not_pay_keeps_its_drafter_out():
    model = ScriptedDrafter(says=SAID, step_s=0.05, to_read=(reading_of(50.0, 2.0),))
    drafted = first_round(model)
    assert (drafted.chain.tokens, drafted.was_read, model.calls) == ([], False, [])


def test_whoever_was_made_ready_guesses_once_even_where_a_guess_alone_would_not_pay():
    """What is read for a gain that is not certain has to be found out."""
    reading = reading_of(0.0, 0.5, variance=3.0)
    model = ScriptedDrafter(chances=(0.02,) * 15, says=SAID, step_s=0.2, to_read=(reading,))
    drafted = first_round(model)
    assert model.calls == [([], 1, reading)]
    assert drafted.was_read


def test_that_guess_is_not_made_where_others_have_guessed():
    text = ScriptedDrafter(chances=(0.9,) * 2, says=SAID, sees_ahead=True, source=NGRAM)
    model = ScriptedDrafter(
        chances=(0.02,) * 15, says=SAID, step_s=0.2, to_read=(reading_of(0.0, 0.5, variance=3.0),)
    )
    assert sources(first_round(text, model)) == [NGRAM, NGRAM]
    assert model.calls == []


# What is learnt


def test_every_tested_guess_teaches_and_none_behind_the_first_rejected():
    beliefs = [term() for _ in range(4)]
    drafter = ScriptedDrafter(says=SAID)
    drafting = drafting_of(drafter)
    drafted = drafting.draft(1, 100)
    drafted.chain.cut(0)
    drafted.chain.extend(
        [Guess(token, MODEL, 0.9, ((own,),)) for token, own in zip(SAID, beliefs, strict=False)]
    )
    drafting.observe(drafted, [SAID[0], SAID[1], 999])
    assert [own.mean > 0.0 for own in beliefs] == [True, True, False, False]
    assert beliefs[2].mean < 0.0
    assert beliefs[3] == term()


def test_all_drafters_hear_what_the_target_said():
    drafters = [ScriptedDrafter(says=SAID, sees_ahead=True), ScriptedDrafter(chances=())]
    drafting = drafting_of(*drafters)
    drafting.observe(drafting.draft(1, 100), [SAID[0], 7])
    assert [drafter.history for drafter in drafters] == [[1, 2, 3, SAID[0], 7]] * 2


def test_a_round_is_booked_with_its_rows_and_what_the_guesses_should_have_cost():
    policy = policy_of(FLAT, CHEAP_DRAFT)
    drafting = drafting_of(ScriptedDrafter(says=SAID, step_s=0.05), policy=policy)
    drafted = drafting.draft(1, 4)
    assert drafted.spent_s == pytest.approx(0.15)
    drafting.observe(drafted, [SAID[0], SAID[1], SAID[2], 7])
    assert (policy.tokens, policy.elapsed) == (4, pytest.approx(0.15 + FLAT[4]))


def test_time_that_drafters_take_is_told_apart_from_time_to_decide():
    clock = FakeClock()

    class Slow(ScriptedDrafter):
        def draft(self, *arguments: object) -> list[Guess]:
            clock.spend(0.3)
            return ScriptedDrafter.draft(self, *arguments)  # type: ignore[arg-type]

    drafting = Drafting([Slow(says=SAID, chances=(0.9,) * 3, sees_ahead=True)], policy_of(), clock)
    drafting.begin([1])
    assert drafting.draft(1, 100).drafters_s == pytest.approx(0.3)


# Drafts of one fixed length


@pytest.mark.parametrize("length", [1, 4, 15])
def test_a_fixed_length_is_drafted_whatever_it_costs(length: int):
    script = script_of(fresh_tokens(60))
    costs, clock = PairCosts(CostCurve(LINEAR), CostCurve(USUAL_DRAFT)), FakeClock()
    model = ScriptedDraft(script, clock, CostCurve(USUAL_DRAFT).cost)
    drafting = Drafting([ModelDrafter(model, costs, Acceptance(), clock)], FixedPolicy(costs, length), clock)
    history = [*script.prompt, script.tokens[0]]
    drafting.begin(history)
    for done, remaining in ((1, 100), (2, 3), (3, 1)):
        drafted = drafting.draft(done, remaining)
        assert len(drafted.chain.tokens) == min(length, remaining - 1)
        drafting.observe(drafted, [script.tokens[done]])


def test_at_a_fixed_length_text_and_model_take_turns():
    costs = PairCosts(CostCurve(FLAT))
    text = ScriptedDrafter(says=SAID, sees_ahead=True, source=NGRAM)
    model = ScriptedDrafter(says=SAID)
    drafted = first_round(text, model, policy=FixedPolicy(costs, 4))
    assert sources(drafted) == [NGRAM, MODEL, NGRAM, MODEL]
    assert drafted.chain.tokens == list(SAID[:4])


def test_at_a_fixed_length_the_least_is_read():
    readings = (reading_of(9.0, 2.0, n_rows=300), reading_of(1.0, 1.0, n_rows=24))
    model = ScriptedDrafter(says=SAID, to_read=readings)
    first_round(model, policy=FixedPolicy(PairCosts(CostCurve(FLAT)), 2))
    assert model.calls[0][2] is readings[1]
