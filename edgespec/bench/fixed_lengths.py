"""Arms whose drafts all have one length, as most programs draft, and what `auto` loses against the best of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgespec.bench.result import ArmResult, BenchResult, Sample
from edgespec.bench.statistics import Estimate, mean_ratio, ratio, ratio_interval
from edgespec.bench.summary import AUTO_ARM, arm_named, paired_ratios
from edgespec.decode.policy import MAX_DRAFT
from edgespec.errors import UsageError


@dataclass(frozen=True, slots=True)
class Regret:
    """How much faster than `auto` the best fixed length is, as a share: below 0 where `auto` is the faster one."""

    best_fixed: str
    """Its arm: the one with the best speed-up over all prompts. Whoever chooses beforehand does no better."""
    draft_length: int
    regret: float
    """best / auto - 1, answers to the same prompt in the same repeat paired."""
    regret_sd: float
    """Its standard error."""
    regret_low: float
    """With `regret_high` its 95 % interval."""
    regret_high: float

    @property
    def auto_ratio(self) -> Estimate:
        """How many times as fast as the best fixed length `auto` is."""
        return ratio(Estimate(1.0, 0.0), Estimate(1.0 + self.regret, self.regret_sd))


def parse_draft_lengths(text: str) -> tuple[int, ...]:
    """Draft lengths from `1,2,4`, ascending, each once.

    Raises:
        UsageError: not a list of whole numbers from 1 to `MAX_DRAFT`.
    """
    lengths = set()
    for part in text.split(","):
        word = part.strip()
        if not (word.isascii() and word.isdecimal() and 1 <= int(word) <= MAX_DRAFT):
            raise UsageError(
                f"`fixed` {word!r} is not a draft length",
                f"use whole numbers from 1 to {MAX_DRAFT}, such as 1,2,3,4",
            )
        lengths.add(int(word))
    return tuple(sorted(lengths))


def best_fixed_arm(result: BenchResult) -> ArmResult | None:
    """The arm of fixed length with the best speed-up over all prompts; None without such arms."""
    arms = [arm for arm in result.arms if arm.draft_length is not None and math.isfinite(arm.speedup)]
    return max(arms, key=lambda arm: arm.speedup, default=None)


def regret_of(result: BenchResult) -> Regret | None:
    """The regret over all prompts; None without `auto` or without an arm of fixed length."""
    best, auto = best_fixed_arm(result), arm_named(result, AUTO_ARM)
    return regret_against(best, auto.samples) if best and auto else None


def regret_against(best: ArmResult, auto: Sequence[Sample]) -> Regret | None:
    """The regret over the prompts of some answers of `auto`; None where nothing can be paired."""
    ratios = paired_ratios(best.samples, auto)
    if best.draft_length is None or not ratios:
        return None
    value, interval = mean_ratio(ratios), ratio_interval(ratios)
    return Regret(
        best.name, best.draft_length, value.value - 1.0, value.sd, interval.low - 1.0, interval.high - 1.0
    )
