"""Two runs against each other, arm by arm."""

from dataclasses import dataclass

from edgespec.bench.result import ArmResult, BenchResult
from edgespec.bench.statistics import Estimate, ratio
from edgespec.bench.summary import arm_named, paired_ratio


@dataclass(frozen=True, slots=True)
class ComparedArm:
    """One arm in two runs; what one run lacks is None."""

    name: str
    before: ArmResult | None
    after: ArmResult | None
    shared_prompts: int
    tok_per_s_ratio: Estimate
    """after / before over the shared prompts. Says nothing when the machine itself was slower or faster: see `speedup_ratio`."""
    speedup_ratio: Estimate
    """after / before of the speed-ups; the speed of the machine cancels out, because each run has its own plain decoding."""


def compare(before: BenchResult, after: BenchResult) -> tuple[ComparedArm, ...]:
    """Every arm of either run, those of `before` first. A ratio above one means that `after` is faster.

    Rates are compared over the prompts that both runs have (`paired_ratio`); speed-ups as they stand, their errors
    propagated as independent.
    """
    names = dict.fromkeys(arm.name for result in (before, after) for arm in result.arms)
    return tuple(_compared(name, arm_named(before, name), arm_named(after, name)) for name in names)


def _compared(name: str, before: ArmResult | None, after: ArmResult | None) -> ComparedArm:
    if before is None or after is None:
        unknown = Estimate(float("nan"), float("nan"))
        return ComparedArm(name, before, after, 0, unknown, unknown)
    shared = {s.prompt_id for s in before.samples} & {s.prompt_id for s in after.samples}
    return ComparedArm(
        name=name,
        before=before,
        after=after,
        shared_prompts=len(shared),
        tok_per_s_ratio=paired_ratio(after.samples, before.samples),
        speedup_ratio=ratio(
            Estimate(after.speedup, after.speedup_sd), Estimate(before.speedup, before.speedup_sd)
        ),
    )
