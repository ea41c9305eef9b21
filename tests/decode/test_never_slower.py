"""The promise in simulation: hardly ever slower than plain steps, and clearly faster where that can be.

The bounds are what the policy keeps on a made-up clock; see `tests/decode/scripted.py` for the machines.
"""

import math
from dataclasses import replace
from random import Random
from statistics import mean

import pytest
from _pytest.mark import ParameterSet

from edgespec.decode.costs import CostCurve
from edgespec.decode.policy import BUDGET_SHARE, BUDGET_STEPS, MAX_DRAFT
from tests.decode.scripted import (
    CHEAP_DRAFT,
    DEAR_DRAFT,
    FLAT,
    LINEAR,
    MIXED,
    STAIRCASE,
    USUAL_DRAFT,
    Machine,
    Performance,
    Script,
    fresh_tokens,
    random_script,
    script_of,
)

VERIFY = {"linear": LINEAR, "flat": FLAT, "staircase": STAIRCASE, "mixed": MIXED}
DRAFTS = {"no draft": None, "cheap": CHEAP_DRAFT, "usual": USUAL_DRAFT, "dear": DEAR_DRAFT}


def machines(*, only_where_drafts_can_pay: bool = False) -> list[ParameterSet]:
    """Every target with every draft."""
    return [
        pytest.param(verify, draft, id=f"{name}, {draft_name}")
        for name, verify in VERIFY.items()
        for draft_name, draft in DRAFTS.items()
        if not only_where_drafts_can_pay or (draft and name != "linear")
    ]


def converse(machine: Machine, scripts: list[Script]) -> list[Performance]:
    """The answers of a conversation, which share what is learnt."""
    costs = machine.costs()
    played = [machine.play(script, costs=costs) for script in scripts]
    assert [done.ids for done in played] == [list(script.tokens) for script in scripts]
    return played


def total_speedup(played: list[Performance]) -> float:
    return sum(done.plain_s for done in played) / sum(done.stats.decode_s for done in played)


def most_of_a_round(machine: Machine) -> float:
    """What the longest draft can lose if nothing of it holds, in plain steps."""
    draft_s = MAX_DRAFT * machine.draft[1] if machine.draft else 0.0
    return (draft_s + CostCurve(machine.verify).cost(MAX_DRAFT + 1)) / machine.verify[1] - 1.0


def random_conversation(seed: int, length: int = 120, answers: int = 4) -> list[Script]:
    """Answers of one kind of text: some drafts are good, some hopeless, some honest about it and some not."""
    random = Random(seed)
    acceptance, telling, repeats = random.random(), random.random(), random.choice([0.0, 0.0, 0.2])
    return [
        random_script(
            random,
            length,
            acceptance=min(max(random.gauss(acceptance, 0.15), 0.0), 1.0),
            telling=telling,
            repeats=repeats,
        )
        for _ in range(answers)
    ]


@pytest.mark.parametrize(("verify", "draft"), machines())
def test_no_conversation_is_slower_than_plain(verify: dict[int, float], draft: dict[int, float] | None):
    played = [converse(Machine(verify, draft), random_conversation(seed)) for seed in range(8)]
    totals = [total_speedup(one) for one in played]
    assert min(totals) > 0.965
    assert min(done.speedup for one in played for done in one) > 0.955
    assert math.exp(mean(math.log(total) for total in totals)) > 0.9999


@pytest.mark.parametrize(("verify", "draft"), machines())
def test_no_answer_loses_more_than_its_budget_and_one_round(
    verify: dict[int, float], draft: dict[int, float] | None
):
    """Whatever the draft is like: three plain steps, a hundredth of the time, and the round that went beyond it."""
    machine = Machine(verify, draft)
    for seed in range(8, 14):
        for done in converse(machine, random_conversation(seed)):
            budget = BUDGET_STEPS + BUDGET_SHARE * done.stats.decode_s / done.step_s
            assert done.lost_steps < budget + most_of_a_round(machine)


@pytest.mark.parametrize(("verify", "draft"), machines())
def test_no_conversation_is_slower_than_plain_on_an_uneasy_machine(
    verify: dict[int, float], draft: dict[int, float] | None
):
    """Every read takes 10 % more or less than the last one; judged by what it should have taken."""
    random = Random(5)
    machine = Machine(verify, draft, noise=lambda: random.lognormvariate(0.0, 0.1))
    verify_s, draft_s = CostCurve(verify).cost, CostCurve(draft or {1: 0.0}).cost
    for seed in range(6):
        steps = seconds = 0.0
        for done in converse(machine, random_conversation(seed)):
            steps += done.plain_s
            seconds += sum(verify_s(max(len(tokens), batch)) for tokens, batch in done.target.passes)
            seconds += sum(draft_s(rows) for rows in done.draft.reads) if done.draft else 0.0
        assert steps / seconds > 0.955


@pytest.mark.parametrize(("verify", "draft"), machines(only_where_drafts_can_pay=True))
def test_a_draft_that_is_sure_and_wrong_is_found_out(verify: dict[int, float], draft: dict[int, float]):
    random = Random(1)
    scripts = [
        script_of(fresh_tokens(120, 200 * i), held=[random.random() < 0.05 for _ in range(120)], lead=12.0)
        for i in range(5)
    ]
    played = converse(Machine(verify, draft), scripts)
    assert total_speedup(played) > 0.95
    assert min(done.speedup for done in played) > 0.93


@pytest.mark.parametrize(("verify", "draft"), machines())
def test_costs_that_were_measured_too_low_do_little_harm(
    verify: dict[int, float], draft: dict[int, float] | None
):
    """Rows cost nearly half as much again as is believed."""
    believed = {rows: cost if rows == 1 else max(0.7 * cost, 1.0) for rows, cost in verify.items()}
    for seed in range(4):
        played = converse(Machine(verify, draft, believed_verify=believed), random_conversation(seed))
        assert total_speedup(played) > 0.93
        assert max(done.lost_steps for done in played) < 12.0


@pytest.mark.parametrize(("verify", "draft"), machines(only_where_drafts_can_pay=True))
def test_a_hopeless_draft_costs_a_long_prompt_no_more_than_a_few_steps(
    verify: dict[int, float], draft: dict[int, float]
):
    """Where drafting is cheap enough for a trial, the trial includes reading the end of the prompt."""
    script = replace(random_script(Random(2), 200, acceptance=0.1), prompt=tuple(range(600_000, 600_900)))
    done = Machine(verify, draft).play(script)
    assert done.lost_steps < 8.5
    if draft is DEAR_DRAFT and verify is not FLAT:
        assert done.draft is not None
        assert done.draft.reads == []


@pytest.mark.parametrize("held", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize(("verify", "draft"), machines(only_where_drafts_can_pay=True))
def test_a_short_answer_to_a_long_prompt_loses_no_more_either(
    verify: dict[int, float], draft: dict[int, float], held: bool
):
    script = script_of(fresh_tokens(14), held=held)
    script = replace(script, prompt=tuple(range(600_000, 600_200)), ends=frozenset({14}))
    assert Machine(verify, draft).play(script, 96).lost_steps < (5.0 if held else 7.0)


def test_a_good_draft_reads_the_end_of_a_long_prompt():
    prompt = tuple(range(600_000, 600_100))
    script = replace(script_of(fresh_tokens(400)), prompt=prompt)
    done = Machine(FLAT, USUAL_DRAFT).play(script)
    assert done.draft is not None
    assert done.draft.reads[0] == 24
    assert done.speedup > 2.6


@pytest.mark.parametrize(
    ("verify", "draft", "least"),
    [
        (FLAT, CHEAP_DRAFT, 7.0),
        (FLAT, USUAL_DRAFT, 2.8),
        (STAIRCASE, CHEAP_DRAFT, 2.35),
        (STAIRCASE, USUAL_DRAFT, 1.6),
        (MIXED, CHEAP_DRAFT, 1.7),
    ],
)
def test_a_draft_that_is_always_right_wins_clearly(
    verify: dict[int, float], draft: dict[int, float], least: float
):
    assert Machine(verify, draft).play(script_of(fresh_tokens(250))).speedup > least


@pytest.mark.parametrize(("verify", "least"), [(FLAT, 3.4), (STAIRCASE, 1.95), (MIXED, 1.65)])
def test_a_text_that_copies_itself_wins_without_a_draft(verify: dict[int, float], least: float):
    script = script_of((fresh_tokens(30) * 6)[:150])
    assert Machine(verify).play(script).speedup > least


def test_where_every_row_costs_a_step_the_text_is_decoded_plainly():
    done = Machine(LINEAR, USUAL_DRAFT).play(script_of((fresh_tokens(30) * 6)[:150]))
    assert done.speedup == pytest.approx(1.0)
    assert done.stats.draft_n == 0


@pytest.mark.parametrize("verify", [STAIRCASE, MIXED, FLAT])
def test_an_answer_that_turns_away_from_its_draft_is_soon_decoded_plainly(verify: dict[int, float]):
    worst = 1.0
    for seed in range(4):
        random = Random(seed)
        good, bad = (random_script(random, 100, acceptance=a, telling=0.3) for a in (0.97, 0.05))
        for draft in (CHEAP_DRAFT, USUAL_DRAFT, DEAR_DRAFT):
            second_half = Machine(verify, draft).play(good + bad).tokens[100:]
            seconds = sum(token.round_s / token.round_tokens for token in second_half)
            worst = min(worst, len(second_half) * verify[1] / seconds)
    assert worst > 0.88


@pytest.mark.parametrize(
    ("verify", "draft"), [(FLAT, CHEAP_DRAFT), (FLAT, USUAL_DRAFT), (MIXED, CHEAP_DRAFT)]
)
def test_a_draft_that_was_bad_for_long_gets_another_chance(verify: dict[int, float], draft: dict[int, float]):
    """Text of one kind made it look hopeless; then comes another kind."""
    random = Random(1)
    bad = [
        script_of(fresh_tokens(150, 400 * i), held=[random.random() < 0.1 for _ in range(150)])
        for i in range(20)
    ]
    good = [script_of(fresh_tokens(150, 400 * i)) for i in range(8)]
    each = [done.speedup for done in converse(Machine(verify, draft), bad + good)]
    assert min(each[:20]) > 0.93
    assert mean(each[:20]) > 0.965
    assert min(each[-4:]) > 1.7


@pytest.mark.parametrize("acceptance", [0.6, 0.7])
def test_a_draft_that_is_mostly_right_but_never_sure_is_used_where_rows_are_free(acceptance: float):
    """Three tokens a round at an acceptance of 0.6 are worth 1.74 plain steps here."""
    random = Random(3)
    held = [random.random() < acceptance for _ in range(600)]
    script = script_of(fresh_tokens(600), held=held, lead=1.2)
    assert Machine(FLAT, CHEAP_DRAFT).play(script).speedup > 1.65
