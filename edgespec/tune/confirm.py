"""Finalists for real: all of them answer the same prompts side by side, whatever their target, as arms of a benchmark do."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgespec.bench.arm import Arm, ArmSpec
from edgespec.bench.arm_loop import ArmLoop, tokenize_prompts
from edgespec.bench.prompts import Prompt
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
    prompts: Sequence[Prompt],
    max_tokens: int,
    *,
    has_time: Callable[[], bool],
    progress: Progress = SILENT,
    repeats: int = 2,
) -> list[FinalistFigures]:
    """Lets all answer all prompts, again while there is time; the first is what the others are compared with.

    Args:
        finalists: Loaded, their costs measured.
        prompts: The first of every category is answered in any case, and first.
        max_tokens: Of each answer.
        has_time: Whether another prompt may begin, once every category had its first.
        progress: Told about prompts.
        repeats: Rounds at most.

    Raises:
        NotEnoughMemoryError: no room for a cache of each.
    """
    asked = tokenize_prompts(finalists[0].engine, by_turns(prompts))
    least = len({prompt.category for prompt in prompts})
    total = repeats * len(asked)
    with ArmLoop(finalists, asked, max_tokens) as loop:
        loop.warm_up()
        progress.stage(f"measuring {len(finalists)} candidates", total)
        for number in range(total):
            if number >= least and not has_time():
                break
            repeat, place = divmod(number, len(asked))
            loop.run(asked[place], repeat, turn=number)
            progress.advance()
    return [_figures(arm, loop) for arm in loop.arms]


def by_turns(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The first of every category, then the second of every one, and so on."""
    seen: Counter[str] = Counter()
    places = []
    for prompt in prompts:
        places.append(seen[prompt.category])
        seen[prompt.category] += 1
    return [prompt for _, prompt in sorted(zip(places, prompts, strict=True), key=lambda pair: pair[0])]


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
