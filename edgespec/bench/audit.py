"""The equality audit: every answer against the plain one of the same target, token by token.

A batch of several rows and a batch of one take different kernels, whose sums differ in the last bits, so two nearly
equal logits can change places (llama.cpp issue 25618). A first difference is therefore judged by the plain decode's
gap between its two best logits at that place: small is a tie, large is a defect.
"""

from collections.abc import Sequence
from typing import Final

from edgespec.bench.result import Audit, Difference, Sample
from edgespec.llama.context import Context, top_two_gap

LARGE_GAP: Final = 1.0
"""Logits. Switching flash attention on and off moved Q4_K_M logits of the same model by up to 0.6."""


def first_difference(plain: Sequence[int], other: Sequence[int]) -> int | None:
    """The first place where two answers differ; a missing end counts, None when they are equal.

    Of `[5, 6, 7]` and `[5, 9, 7]` it is 1; of `[5, 6]` and `[5, 6, 7]` it is 2.
    """
    for place, (a, b) in enumerate(zip(plain, other, strict=False)):
        if a != b:
            return place
    return None if len(plain) == len(other) else min(len(plain), len(other))


def compare_answers(
    context: Context, prompt: Sequence[int], plain: Sample, others: dict[str, Sample], *, judge: bool
) -> Audit:
    """Audits one prompt's answers; only a difference costs a pass of the target.

    Args:
        context: The target's, free to use; it is left with whatever the audit read.
        prompt: The prompt's tokens.
        plain: The plain answer, or that of the first arm where none is plain.
        others: Answers by arm.
        judge: Whether a large gap is a failure: only greedy answers can be judged by it.

    Raises:
        EngineError: llama.cpp failed.
    """
    differences = []
    for arm, sample in others.items():
        place = first_difference(plain.tokens, sample.tokens)
        if place is None:
            continue
        gap = logit_gap(context, [*prompt, *plain.tokens[:place]])
        differences.append(
            Difference(
                arm=arm,
                prompt_id=plain.prompt_id,
                repeat=plain.repeat,
                position=place,
                plain_token=_token_at(plain, place),
                arm_token=_token_at(sample, place),
                logit_gap=gap,
                large=judge and gap > LARGE_GAP,
            )
        )
    return Audit(len(others), len(others) - len(differences), tuple(differences))


def logit_gap(context: Context, tokens: Sequence[int]) -> float:
    """Best minus second best logit after `tokens`, of the n_vocab that the context computes.

    Raises:
        ContextOverflowError: the tokens do not fit the context.
    """
    context.clear()
    context.prefill(tokens)
    row = context.logits(1)[0]
    return top_two_gap(row, int(row.argmax()))


def merge_audits(audits: Sequence[Audit]) -> Audit:
    """The sum of several."""
    return Audit(
        sum(audit.compared for audit in audits),
        sum(audit.identical for audit in audits),
        tuple(difference for audit in audits for difference in audit.first_differences),
    )


def _token_at(sample: Sample, place: int) -> int:
    return sample.tokens[place] if place < len(sample.tokens) else -1
