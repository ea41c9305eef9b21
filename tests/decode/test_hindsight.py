"""What `auto` loses against those who know better: whoever picks the best fixed length afterwards, and whoever knew of a change
of speed when it happened."""

from dataclasses import dataclass, replace
from random import Random
from statistics import mean

import pytest

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.policy import Mode
from tests.decode.scripted import (
    CHEAP_DRAFT,
    DEAR_DRAFT,
    FLAT,
    LINEAR,
    MIXED,
    PROMPT,
    STAIRCASE,
    USUAL_DRAFT,
    Machine,
    Script,
    fresh_tokens,
    random_script,
    script_of,
)

LENGTHS = (1, 2, 3, 4, 6, 8, 12, 15)
LONG_PROMPT = tuple(range(600_000, 600_060))
SEEDS = range(10)
MACHINES = [
    pytest.param(FLAT, CHEAP_DRAFT, id="flat"),
    pytest.param(STAIRCASE, CHEAP_DRAFT, id="staircase"),
    pytest.param(LINEAR, CHEAP_DRAFT, id="linear"),
    pytest.param(FLAT, DEAR_DRAFT, id="slow draft"),
]


def random_conversation(seed: int, prompt: tuple[int, ...] = PROMPT) -> list[Script]:
    """Answers that a draft follows in a fifth to nearly all of their places."""
    random = Random(seed)
    acceptance, telling = random.uniform(0.2, 0.98), random.uniform(0.3, 1.0)
    scripts = []
    for _ in range(4):
        near = min(max(random.gauss(acceptance, 0.1), 0.0), 1.0)
        scripts.append(replace(random_script(random, 120, acceptance=near, telling=telling), prompt=prompt))
    return scripts


def decode_s(machine: Machine, scripts: list[Script]) -> float:
    costs = machine.costs()
    return sum(machine.play(script, costs=costs).stats.decode_s for script in scripts)


def regret(verify: dict[int, float], draft: dict[int, float], scripts: list[Script]) -> float:
    """Time of `auto` over that of the best fixed length of these very answers, none among them; less 1."""
    fixed = [decode_s(Machine(verify, draft, Mode.MODEL, length), scripts) for length in LENGTHS]
    fixed.append(decode_s(Machine(verify, draft, Mode.OFF), scripts))
    return decode_s(Machine(verify, draft), scripts) / min(fixed) - 1.0


@pytest.mark.parametrize(("verify", "draft"), MACHINES)
def test_the_best_fixed_length_in_hindsight_is_hardly_ever_better(
    verify: dict[int, float], draft: dict[int, float]
):
    """It is another one for every conversation; `auto` gains where leads tell how far to go."""
    regrets = [regret(verify, draft, random_conversation(seed)) for seed in SEEDS]
    assert mean(regrets) < 0.02
    assert mean(max(one, 0.0) for one in regrets) < 0.02, "nor where gains elsewhere do not make up for it"
    assert max(regrets) < 0.1


@pytest.mark.parametrize(("verify", "draft"), MACHINES)
def test_nor_where_a_draft_has_to_read_a_prompt_first(verify: dict[int, float], draft: dict[int, float]):
    """The slow draft's reading costs five steps: more than may be lost, so that it is hardly tried."""
    regrets = [regret(verify, draft, random_conversation(seed, LONG_PROMPT)) for seed in SEEDS]
    assert mean(regrets) < (0.045 if draft is DEAR_DRAFT else 0.0001)
    assert mean(max(one, 0.0) for one in regrets) < (0.045 if draft is DEAR_DRAFT else 0.01)


def test_no_fixed_length_is_the_best_one_everywhere():
    """Else the comparison would say little."""
    best = set()
    for verify, draft in ((FLAT, CHEAP_DRAFT), (STAIRCASE, CHEAP_DRAFT)):
        for seed in range(4):
            scripts = random_conversation(seed)
            seconds = {
                length: decode_s(Machine(verify, draft, Mode.MODEL, length), scripts) for length in LENGTHS
            }
            best.add(min(seconds, key=seconds.__getitem__))
    assert len(best) >= 4


# A machine that changes its speed


class KnownCosts(PairCosts):
    """Costs that nobody has to find out."""

    def observe_verify(self, rows: int, seconds: float) -> None:
        pass

    def observe_draft(self, rows: int, seconds: float) -> None:
        pass


@dataclass(slots=True)
class Changed:
    """What was done after a change."""

    rows: list[int]
    """Of each pass."""
    s_per_token: float
    """From the 17th round on, at the speed before the change."""


def answer_with_change(machine: Machine, script: Script, factor: float, *, known: bool) -> Changed:
    """An answer in which everything takes `factor` times as long from the 40th round on."""
    make = KnownCosts if known else PairCosts
    costs = make(CostCurve(machine.verify), CostCurve(machine.draft or CHEAP_DRAFT))
    slow = 1.0
    generator, target, _ = replace(machine, noise=lambda: slow).generator(script, costs)
    done_s: list[tuple[float, int]] = []
    for count, _ in enumerate(generator.generate(script.prompt, len(script.tokens)), 1):
        if len(target.passes) > len(done_s):
            done_s.append((target.clock(), count))
        if len(target.passes) == 40 and slow == 1.0:
            slow = factor
            if known:
                costs.verify.scale(factor)
                costs.draft.scale(factor)  # type: ignore[union-attr]
    (first_s, first), (last_s, last) = done_s[40 + 16], done_s[-1]
    return Changed(
        [len(tokens) for tokens, _ in target.passes[40:]], (last_s - first_s) / factor / (last - first)
    )


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize(
    ("verify", "draft"),
    [
        pytest.param(FLAT, CHEAP_DRAFT, id="flat, cheap"),
        pytest.param(FLAT, USUAL_DRAFT, id="flat, usual"),
        pytest.param(STAIRCASE, CHEAP_DRAFT, id="staircase, cheap"),
        pytest.param(STAIRCASE, USUAL_DRAFT, id="staircase, usual"),
        pytest.param(MIXED, CHEAP_DRAFT, id="mixed, cheap"),
    ],
)
def test_a_change_of_speed_changes_no_choice_for_longer_than_16_rounds(
    verify: dict[int, float], draft: dict[int, float], factor: float
):
    """Of a machine at half or twice its speed: what is drafted then is what a policy drafts that always knew it."""
    machine = Machine(verify, draft)
    lost: list[float] = []
    alike: list[bool] = []
    for seed in range(4):
        random = Random(seed)
        held = [random.random() < 0.9 for _ in range(700)]
        script = script_of(fresh_tokens(700), held=held, lead=2.5)
        found, knowing = (answer_with_change(machine, script, factor, known=known) for known in (False, True))
        assert mean(found.rows[16:]) == pytest.approx(mean(knowing.rows[16:]), rel=0.1)
        sixteen = zip(found.rows[16:32], knowing.rows[16:32], strict=True)
        alike += [abs(own - other) <= 2 for own, other in sixteen]
        lost.append(found.s_per_token / knowing.s_per_token - 1.0)
    assert mean(alike) > 0.93
    assert mean(lost) < 0.04, "the plain steps that are taken to know what one takes among it"
