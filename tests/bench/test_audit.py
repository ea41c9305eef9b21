"""The equality audit: where two answers part, and whether the plain one was in doubt there."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgespec.bench.audit import LARGE_GAP, compare_answers, first_difference, logit_gap, merge_audits
from edgespec.bench.result import Audit, Difference, Sample
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model

LENGTH = 40


def answer(tokens: Sequence[int]) -> Sample:
    return Sample(
        prompt_id="p7",
        category="chat",
        repeat=2,
        prompt_n=5,
        predicted_n=len(tokens),
        decode_s=1.0,
        tok_per_s=1.0,
        ttft_s=1.0,
        prompt_tok_per_s=1.0,
        draft_n=0,
        draft_n_accepted=0,
        target_passes=0,
        draft_s=0.0,
        verify_s=0.0,
        policy_s=0.0,
        accepted_per_position=(),
        tokens=tuple(tokens),
        stopped="length",
    )


@pytest.fixture(scope="module")
def context(tiny_model: Path) -> Iterator[Context]:
    with Model(tiny_model) as model, Context(model, ContextSettings(512, 1)) as made:
        yield made


@pytest.fixture(scope="module")
def prompt(context: Context) -> list[int]:
    return context.model.tokenize("the cat and the hat")


@pytest.fixture(scope="module")
def plain(context: Context, prompt: list[int]) -> tuple[list[int], list[float]]:
    """A greedy answer, and by how many logits each of its tokens led."""
    tokens, gaps = [], []
    context.clear()
    context.prefill(prompt)
    for _ in range(LENGTH):
        second, best = np.sort(context.logits(1)[0])[-2:].tolist()
        tokens.append(int(context.logits(1)[0].argmax()))
        gaps.append(best - second)
        context.decode(tokens[-1:])
    return tokens, gaps


def corrupt(tokens: Sequence[int], place: int) -> list[int]:
    """Another token at one place; what follows it does not matter."""
    return [*tokens[:place], (tokens[place] + 1) % 250 + 3, *tokens[place + 1 :]]


@pytest.mark.parametrize(
    ("plain", "other", "place"),
    [
        ([1, 2, 3], [1, 2, 3], None),
        ([], [], None),
        ([1, 2, 3], [9, 2, 3], 0),
        ([1, 2, 3], [1, 2, 9], 2),
        ([1, 2, 3], [1, 2], 2),
        ([1, 2], [1, 2, 3], 2),
        ([], [1], 0),
    ],
)
def test_the_first_difference_may_be_a_missing_end(plain: list[int], other: list[int], place: int | None):
    assert first_difference(plain, other) == place


def test_equal_answers_are_identical_and_cost_no_pass(
    context: Context, prompt: list[int], plain: tuple[list[int], list[float]], monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise AssertionError("the target was asked")

    monkeypatch.setattr(Context, "prefill", refuse)
    sample = answer(plain[0])
    audit = compare_answers(context, prompt, sample, {"ngram": sample, "auto": sample}, judge=True)
    assert audit == Audit(2, 2, ())
    assert not audit.failed


def test_a_difference_where_the_plain_choice_led_clearly_is_large(
    context: Context, prompt: list[int], plain: tuple[list[int], list[float]]
):
    tokens, gaps = plain
    place = next(place for place, gap in enumerate(gaps) if gap > LARGE_GAP and place > 3)
    wrong = answer(corrupt(tokens, place))
    audit = compare_answers(
        context, prompt, answer(tokens), {"draft": wrong, "auto": answer(tokens)}, judge=True
    )
    assert (audit.compared, audit.identical, audit.failed) == (2, 1, True)
    (difference,) = audit.first_differences
    assert difference.logit_gap == pytest.approx(gaps[place], abs=1e-2)
    assert replace(difference, logit_gap=0.0) == Difference(
        arm="draft",
        prompt_id="p7",
        repeat=2,
        position=place,
        plain_token=tokens[place],
        arm_token=wrong.tokens[place],
        logit_gap=0.0,
        large=True,
    )


def test_a_difference_at_a_near_tie_is_reported_and_no_failure(
    context: Context, prompt: list[int], plain: tuple[list[int], list[float]]
):
    tokens, gaps = plain
    place = next(place for place, gap in enumerate(gaps) if gap < LARGE_GAP / 2)
    audit = compare_answers(
        context, prompt, answer(tokens), {"draft": answer(corrupt(tokens, place))}, judge=True
    )
    (difference,) = audit.first_differences
    assert difference.logit_gap == pytest.approx(gaps[place], abs=1e-2)
    assert (audit.compared, audit.identical, difference.large, audit.failed) == (1, 0, False, False)


def test_without_judging_no_difference_is_large(
    context: Context, prompt: list[int], plain: tuple[list[int], list[float]]
):
    tokens, gaps = plain
    place = max(range(LENGTH), key=gaps.__getitem__)
    audit = compare_answers(
        context, prompt, answer(tokens), {"draft": answer(corrupt(tokens, place))}, judge=False
    )
    (difference,) = audit.first_differences
    assert difference.logit_gap > LARGE_GAP
    assert not audit.failed


@pytest.mark.parametrize("place", [0, 17])
def test_an_answer_that_ends_early_differs_at_its_end(
    context: Context, prompt: list[int], plain: tuple[list[int], list[float]], place: int
):
    tokens, gaps = plain
    short = compare_answers(context, prompt, answer(tokens), {"auto": answer(tokens[:place])}, judge=True)
    (difference,) = short.first_differences
    assert (difference.position, difference.plain_token, difference.arm_token) == (place, tokens[place], -1)
    assert difference.logit_gap == pytest.approx(gaps[place], abs=1e-2)
    long = compare_answers(context, prompt, answer(tokens[:place]), {"auto": answer(tokens)}, judge=True)
    (difference,) = long.first_differences
    assert (difference.position, difference.plain_token, difference.arm_token) == (place, -1, tokens[place])


def test_the_gap_does_not_depend_on_what_the_context_held(context: Context, prompt: list[int]):
    first = logit_gap(context, prompt)
    context.clear()
    context.prefill([5] * 200)
    assert logit_gap(context, prompt) == first > 0


def test_audits_are_added_up():
    difference = Difference("auto", "p", 0, 3, 1, 2, 0.5, False)
    large = replace(difference, arm="ngram", logit_gap=3.0, large=True)
    total = merge_audits([Audit(3, 2, (difference,)), Audit(3, 3), Audit(3, 2, (large,))])
    assert total == Audit(9, 7, (difference, large))
    assert total.failed
    assert merge_audits([]) == Audit(0, 0, ())
