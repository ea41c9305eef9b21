"""What a run says, in one plain sentence, and what makes it hard to believe."""

import math
from collections.abc import Collection
from typing import Final

from edgespec.bench.fixed_lengths import regret_of
from edgespec.bench.result import ArmResult, BenchResult, CategoryFigures
from edgespec.bench.statistics import Estimate
from edgespec.bench.summary import AUTO_ARM, PLAIN_ARM, arm_named, drafted_nothing, is_plain, unsteady_samples

PLAIN: Final = "plain"
"""In place of the speed-up of an arm that drafted nothing."""
_UNSTEADY_SPREAD: Final = 0.1
"""Deviation of plain answers to one prompt over their rate, above which a run is worth repeating."""


def verdict(result: BenchResult) -> str:
    """One sentence on the arm that matters: `auto`, or the fastest other one when the run has no `auto`.

    "Faster" and "slower" are said only of a difference above two standard errors, and of a category where all of its 95 %
    interval is below plain decoding. With arms of fixed length it says how `auto` stands to the best of them.
    """
    arm = deciding_arm(result)
    if result.audit.failed:
        bad = sum(d.large for d in result.audit.first_differences)
        outputs = "1 output differs" if bad == 1 else f"{bad} outputs differ"
        return f"do not trust these figures: {outputs} from plain decoding, and not by a tie"
    if arm is None:
        return _without_comparison(result)
    parts = [_sentence(arm), _slower_categories(arm), _regret_sentence(result)]
    unfinished = "" if result.complete else " (so far: the run is not finished)"
    return "; ".join(part for part in parts if part) + unfinished


def deciding_arm(result: BenchResult) -> ArmResult | None:
    """The arm that the verdict is about; None when there is nothing to compare with plain decoding."""
    arms = [arm for arm in result.arms if arm.name != PLAIN_ARM and math.isfinite(arm.speedup)]
    return next((arm for arm in arms if arm.name == AUTO_ARM), max(arms, key=_gain, default=None))


def speedup_text(arm: ArmResult) -> str:
    """`1.42x ± 0.05`; `1.00x` for plain decoding itself, `plain` for what decodes like it, `-` without anything to compare with."""
    if arm.name == PLAIN_ARM:
        return "1.00x"
    if is_plain(arm):
        return PLAIN
    return _measured_speedup(arm)


def multiple_text(
    arm: ArmResult, figures: ArmResult | CategoryFigures | None = None, among: Collection[str] | None = None
) -> str:
    """`1.42x` without its error, or as of `speedup_text`; for some categories as of `is_plain`."""
    if arm.name != PLAIN_ARM and is_plain(arm, figures, among):
        return PLAIN
    return with_error((figures or arm).speedup, math.nan, digits=2, unit="x")


def _measured_speedup(arm: ArmResult) -> str:
    """`1.42x ± 0.05`, whether or not the arm drafted anything."""
    return with_error(arm.speedup, arm.speedup_sd, digits=2, unit="x")


def with_error(value: float, sd: float, *, digits: int, unit: str = "") -> str:
    """`1.42x ± 0.05`: the value with its unit and the error, each with `digits` decimals.

    One decimal more when that keeps the error from reading 0.00; no error when it is unknown, `-` when the value is.
    """
    if not math.isfinite(value):
        return "-"
    if not math.isfinite(sd):
        return f"{value:.{digits}f}{unit}"
    if 0.05 <= sd * 10**digits < 0.5:
        digits += 1
    return f"{value:.{digits}f}{unit} ± {sd:.{digits}f}"


def rate_text(tok_per_s: float) -> str:
    """Three significant digits, without an exponent: `9.83`, `11.8`, `1234`."""
    if not math.isfinite(tok_per_s):
        return "-"
    digits = 2 if tok_per_s < 10 else 1 if tok_per_s < 100 else 0
    return f"{tok_per_s:.{digits}f}"


def doubts(result: BenchResult) -> tuple[str, ...]:
    """Reasons to measure again, each with the flag or the deed that helps; empty for a quiet run."""
    found = []
    repeats = {s.repeat for arm in result.arms for s in arm.samples}
    if len(repeats) == 1:
        found.append("Each answer was timed once, so ± is the difference between prompts: try `repeat` 3.")
    unsteady = sum(len(unsteady_samples(arm.samples)) for arm in result.arms)
    if unsteady:
        answers = "1 answer was" if unsteady == 1 else f"{unsteady} answers were"
        found.append(
            f"{answers} far off the other repeats of the same prompt: close other programs and repeat."
        )
    plain = arm_named(result, PLAIN_ARM)
    if len(repeats) > 1 and plain and plain.tok_per_s_sd > _UNSTEADY_SPREAD * plain.tok_per_s:
        share = plain.tok_per_s_sd / plain.tok_per_s
        found.append(
            f"Plain decoding varied by {share:.0%} between repeats: raise `repeat`, or let the machine cool."
        )
    ties = sum(not d.large for d in result.audit.first_differences)
    if ties:
        outputs = "1 output leaves" if ties == 1 else f"{ties} outputs leave"
        found.append(f"{outputs} the plain text at a tie of two tokens (floating-point rounding).")
    return tuple(found)


def _sentence(arm: ArmResult) -> str:
    text = _measured_speedup(arm)
    speedup = Estimate(arm.speedup, arm.speedup_sd)
    if is_plain(arm):
        return f"{arm.name} drafted nothing and decodes as plain does: its {text} is noise"
    aside = ", though it drafted nothing" if drafted_nothing(arm) else ""
    if math.isnan(speedup.sd):
        return f"{arm.name} is {text} against plain decoding in a single answer: too little to tell it from noise"
    if not speedup.differs_from(1.0):
        return f"{arm.name} makes no difference within the noise: {text}"
    if speedup.value > 1:
        return f"{arm.name} is {text} faster than plain decoding{aside}"
    return f"{arm.name} is {text}: slower than plain decoding{aside}"


def _gain(arm: ArmResult) -> float:
    return 1.0 if is_plain(arm) else arm.speedup


def _slower_categories(arm: ArmResult) -> str:
    """Those that lose for sure in a run that does not lose as a whole, or nothing."""
    whole = Estimate(arm.speedup, arm.speedup_sd)
    slower = [
        f"{name} ({with_error(one.speedup, math.nan, digits=2, unit='x')})"
        for name, one in arm.by_category.items()
        if one.is_slower
    ]
    if not slower or (whole.value < 1 and whole.differs_from(1.0)):
        return ""
    return f"slower on {', '.join(slower)}"


def _regret_sentence(result: BenchResult) -> str:
    regret = regret_of(result)
    if regret is None:
        return ""
    ratio = with_error(regret.auto_ratio.value, regret.auto_ratio.sd, digits=2, unit="x")
    return f"{AUTO_ARM} is {ratio} of {regret.best_fixed}, the best fixed length here"


def _without_comparison(result: BenchResult) -> str:
    plain = arm_named(result, PLAIN_ARM)
    if plain is None:
        return "nothing was measured"
    rate = with_error(plain.tok_per_s, plain.tok_per_s_sd, digits=1)
    return f"plain decoding runs at {rate} tok/s; there is no other arm to compare it with"
