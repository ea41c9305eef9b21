"""Which prompts copy: their plain answers repeat them, and n-grams draft such text for nothing.

A speed-up over a mix of both kinds says little of either, so the reports show them apart as well.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Final

from edgespec.bench.result import COPYING, NOT_COPYING, Sample

MATCH: Final = 3
"""Tokens that have to match before the next one counts as copied."""
COPIES_FROM: Final = 0.25
"""Copied share of the plain answers from which a category counts as one that copies. Of Spec-Bench's categories, answered by
Qwen2.5-Coder 1.5B, reasoning has 0.17, maths and code have less, retrieval has 0.37 and summaries have 0.73; `edit` has 0.91."""


def count_copied(prompt: Sequence[int], answer: Sequence[int]) -> int:
    """Tokens of the answer that follow three others of it just as they do somewhere in the prompt.

    Of the prompt 1, 2, 3, 4, 5 the answer 9, 1, 2, 3, 4, 5, 6 copies two: the 4 and the 5.
    """
    length = MATCH + 1
    said = {tuple(prompt[place : place + length]) for place in range(len(prompt) - MATCH)}
    return sum(tuple(answer[place : place + length]) in said for place in range(len(answer) - MATCH))


def copied_shares(samples: Iterable[Sample]) -> dict[str, float]:
    """Of each category, the mean over its prompts of the share of the answers' tokens that are copied, 0 to 1.

    Args:
        samples: Plain answers. Those of older runs, which do not know it, are passed over.
    """
    copied: defaultdict[tuple[str, str], int] = defaultdict(int)
    said: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in samples:
        if one.copied_n is not None and one.predicted_n > 0:
            copied[one.category, one.prompt_id] += one.copied_n
            said[one.category, one.prompt_id] += one.predicted_n
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for (category, prompt_id), tokens in said.items():
        shares[category].append(copied[category, prompt_id] / tokens)
    return {category: fmean(values) for category, values in shares.items()}


def group_of(share: float) -> str:
    """`COPYING` or `NOT_COPYING`."""
    return COPYING if share >= COPIES_FROM else NOT_COPYING
