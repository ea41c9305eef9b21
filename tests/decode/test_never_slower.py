"""The promise in simulation: hardly ever slower than plain steps, and clearly faster where that can be.

The bounds are what the policy keeps on a made-up clock; see `tests/decode/scripted.py` for the machines.
"""

import math
from dataclasses import replace
from random import Random
from statistics import mean

import pytest
from _pytest.mark import ParameterSet

from edgespec.decode.costs import MIN_WINDOW
from tests.decode.scripted import (
    CHEAP_DRAFT,
    FLAT,
    LINEAR,
    STAIRCASE,
    USUAL_DRAFT,
    Machine,
    Script,
    fresh_tokens,
    random_script,
    script_of,
)

MIXED = {1: 1.0, 2: 1.69, 3: 2.2, 4: 2.15, 6: 3.6, 8: 4.4, 12: 6.0, 16: 7.0}
"""Measured on two cores: a target that is half compute-bound."""
DEAR_DRAFT = {1: 0.45, 2: 0.77, 8: 2.0, 32: 6.0}
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


def converse(machine: Machine, scripts: list[Script]) -> tuple[float, list[float]]:
    """Speed-up of a conversation whose answers share what is learnt, and of each answer."""
    costs = machine.costs()
    steps = seconds = 0.0
    each = []
    for script in scripts:
        generator, _, _ = machine.generator(script, costs)
        tokens = list(generator.generate(script.prompt, len(script.tokens)))
        assert [token.id for token in tokens] == list(script.tokens)
        plain_s = (len(tokens) - 1) * machine.verify[1]
        each.append(plain_s / generator.stats.decode_s)
        steps += plain_s
        seconds += generator.stats.decode_s
    return steps / seconds, each


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
    assert min(total for total, _ in played) > 0.97
    assert min(answer for _, each in played for answer in each) > 0.88
    assert math.exp(mean(math.log(total) for total, _ in played)) > 0.99


@pytest.mark.parametrize(("verify", "draft"), machines())
def test_no_conversation_is_slower_than_plain_on_an_uneasy_machine(
    verify: dict[int, float], draft: dict[int, float] | None
):
    """Every read takes 10 % more or less than the last one."""
    random = Random(5)
    machine = Machine(verify, draft, noise=lambda: random.lognormvariate(0.0, 0.1))
    totals = [converse(machine, random_conversation(seed))[0] for seed in range(6)]
    assert min(totals) > 0.95


@pytest.mark.parametrize(("verify", "draft"), machines(only_where_drafts_can_pay=True))
def test_a_draft_that_is_sure_and_wrong_is_found_out(verify: dict[int, float], draft: dict[int, float]):
    random = Random(1)
    scripts = [
        script_of(fresh_tokens(120, 200 * i), held=[random.random() < 0.05 for _ in range(120)], lead=12.0)
        for i in range(5)
    ]
    total, each = converse(Machine(verify, draft), scripts)
    assert total > 0.94
    assert each[0] > 0.88
    assert min(each[3:]) > 0.96


@pytest.mark.parametrize(("verify", "draft"), machines())
def test_costs_that_were_measured_too_low_do_little_harm(
    verify: dict[int, float], draft: dict[int, float] | None
):
    believed = {rows: cost if rows == 1 else max(0.7 * cost, 1.0) for rows, cost in verify.items()}
    for seed in range(4):
        total, _ = converse(Machine(verify, draft, believed_verify=believed), random_conversation(seed))
        assert total > 0.95


@pytest.mark.parametrize(("verify", "draft"), machines(only_where_drafts_can_pay=True))
def test_a_hopeless_draft_costs_a_long_prompt_no_more_than_a_few_steps(
    verify: dict[int, float], draft: dict[int, float]
):
    """Where drafting is cheap enough for a trial, the trial includes reading the end of the prompt."""
    script = random_script(Random(2), 200, acceptance=0.1)
    script = replace(script, prompt=tuple(range(600_000, 600_900)), gaps=(0.2,) * 200)
    done = Machine(verify, draft).play(script)
    assert done.stats.decode_s - 199 * verify[1] < 7 * verify[1]
    if draft is DEAR_DRAFT:
        assert done.draft is not None
        assert done.draft.reads == []


@pytest.mark.parametrize(("verify", "draft"), machines(only_where_drafts_can_pay=True))
def test_a_short_answer_to_a_long_prompt_pays_for_no_draft(verify: dict[int, float], draft: dict[int, float]):
    script = script_of(fresh_tokens(14))
    script = replace(script, prompt=tuple(range(600_000, 600_200)), ends=frozenset({14}))
    assert Machine(verify, draft).play(script, 96).speedup > 0.93


def test_a_good_draft_reads_the_end_of_a_long_prompt_when_the_answer_is_long():
    prompt = tuple(range(600_000, 600_100))
    script = replace(script_of(fresh_tokens(400)), prompt=prompt)
    done = Machine(FLAT, USUAL_DRAFT).play(script)
    assert done.draft is not None
    assert done.draft.reads[0] >= MIN_WINDOW
    assert done.speedup > 1.5


@pytest.mark.parametrize(
    ("verify", "draft", "least"),
    [
        (FLAT, CHEAP_DRAFT, 4.5),
        (FLAT, USUAL_DRAFT, 2.2),
        (STAIRCASE, CHEAP_DRAFT, 2.1),
        (STAIRCASE, USUAL_DRAFT, 1.5),
        (MIXED, CHEAP_DRAFT, 1.55),
        (MIXED, USUAL_DRAFT, 1.2),
    ],
)
def test_a_draft_that_is_always_right_wins_clearly(
    verify: dict[int, float], draft: dict[int, float], least: float
):
    assert Machine(verify, draft).play(script_of(fresh_tokens(250))).speedup > least


@pytest.mark.parametrize(("verify", "least"), [(FLAT, 3.0), (STAIRCASE, 1.8), (MIXED, 1.5)])
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
        script = Script(
            good.tokens + bad.tokens, good.held + bad.held, good.leads + bad.leads, good.gaps + bad.gaps
        )
        for draft in (CHEAP_DRAFT, USUAL_DRAFT, DEAR_DRAFT):
            second_half = Machine(verify, draft).play(script).tokens[100:]
            seconds = sum(token.round_s / token.round_tokens for token in second_half)
            worst = min(worst, len(second_half) * verify[1] / seconds)
    assert worst > 0.86


@pytest.mark.parametrize(
    ("verify", "draft"), [(FLAT, CHEAP_DRAFT), (FLAT, USUAL_DRAFT), (MIXED, CHEAP_DRAFT)]
)
def test_a_draft_that_was_bad_for_long_gets_another_chance(verify: dict[int, float], draft: dict[int, float]):
    """Text of one kind made it look hopeless; then comes another kind, just as certain."""
    random = Random(1)
    bad = [
        script_of(fresh_tokens(150, 400 * i), held=[random.random() < 0.1 for _ in range(150)])
        for i in range(20)
    ]
    good = [script_of(fresh_tokens(150, 400 * i)) for i in range(8)]
    _, each = converse(Machine(verify, draft), bad + good)
    assert min(each[:20]) > 0.88
    assert each[-1] > 1.2


@pytest.mark.parametrize("acceptance", [0.6, 0.7])
def test_a_draft_that_is_mostly_right_but_never_sure_is_used_where_rows_are_free(acceptance: float):
    """Three tokens a round at an acceptance of 0.6 are worth 1.74 plain steps here."""
    random = Random(3)
    held = [random.random() < acceptance for _ in range(600)]
    script = script_of(fresh_tokens(600), held=held, lead=1.2, gap=2.0)
    assert Machine(FLAT, CHEAP_DRAFT).play(script).speedup > 1.5


def test_only_an_answer_without_a_model_draft_makes_its_counts_fade():
    machine = Machine(FLAT, CHEAP_DRAFT)
    costs = machine.costs()
    first = script_of(fresh_tokens(100))
    generator, _, _ = machine.generator(first, costs)
    list(generator.generate(first.prompt, 100))
    assert generator.stats.draft_n > 50
    counted = list(machine.acceptance.by_lead.tested)
    generator, _, _ = machine.generator(first, costs)
    next(generator.generate(first.prompt, 100))
    assert machine.acceptance.by_lead.tested == counted
