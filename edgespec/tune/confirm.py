"""Finalists for real: all of them answer the same prompts side by side, whatever their target, as arms of a benchmark do."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgespec.bench.arm import Arm, ArmSpec
from edgespec.bench.arm_loop import ArmLoop, TokenizedPrompt
from edgespec.bench.summary import has_figures
from edgespec.progress import SILENT, Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FinalistFigures:
    """What a finalist did, against the first one. Figures are `nan` where no answer had two tokens."""

    tok_per_s: float
    """Geometric mean over prompts."""
    speedup: float
    speedup_sd: float
    lowest_category: float
    """Speed-up in the category where it is least."""
    is_faithful: bool = True
    """Whether its texts are those of the first finalist on the same target, but for ties of two tokens.

    Targets of other types have other texts: nothing is said across them.
    """


def measure_finalists(
    finalists: Sequence[ArmSpec],
    prompts: Sequence[TokenizedPrompt],
    max_tokens: int,
    *,
    has_time: Callable[[], bool],
    progress: Progress = SILENT,
    repeats: int = 2,
) -> list[FinalistFigures]:
    """Lets all answer all prompts, again while there is time; the first is what the others are compared with.

    Args:
        finalists: Loaded, their costs measured.
        prompts: Each is answered once in any case, so that every category has a figure.
        max_tokens: Of each answer.
        has_time: Whether another prompt may begin, once all were answered.
        progress: Told about prompts.
        repeats: Rounds at most.

    Raises:
        NotEnoughMemoryError: no room for a cache of each.
    """
    total = repeats * len(prompts)
    with ArmLoop(finalists, prompts, max_tokens) as loop:
        loop.warm_up()
        progress.stage(f"measuring {len(finalists)} candidates", total)
        for number in range(total):
            if number >= len(prompts) and not has_time():
                break
            repeat, place = divmod(number, len(prompts))
            loop.run(prompts[place], repeat, turn=number)
            progress.advance()
    return [_figures(arm, loop) for arm in loop.arms]


def _figures(arm: Arm, loop: ArmLoop) -> FinalistFigures:
    wrong = [one for one in loop.audit.first_differences if one.arm == arm.name and one.large]
    for one in wrong:
        log.warning(
            "%s left the text of its target in %s at token %d, where the choice led by %.2f logits",
            arm.name, one.prompt_id, one.position, one.logit_gap,
        )  # fmt: skip
    first = loop.arms[0]
    if not has_figures(arm.samples):
        return FinalistFigures(math.nan, math.nan, 0.0, math.nan, not wrong)
    found = arm.result(first)
    by_category = [one.speedup for one in found.by_category.values() if math.isfinite(one.speedup)]
    # A single answer has no error that anybody could know.
    sd = found.speedup_sd if arm is not first and math.isfinite(found.speedup_sd) else 0.0
    return FinalistFigures(found.tok_per_s, found.speedup, sd, min(by_category, default=math.nan), not wrong)
