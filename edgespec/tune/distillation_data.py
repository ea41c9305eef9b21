"""Text for a draft to learn from: the target asks itself questions, answers them, and says what else it might have said.

A target that is shown the head of a question writes one of the kind that it was trained to answer (Magpie, arXiv
2406.08464), so no collection of questions is needed. Answers are greedy: it is their tokens that a draft has to guess.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.decode.chat_template import ChatMessage, tokenize_chat
from edgespec.decode.engines import shared_prefix
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.tune.recordings import answer_side_by_side, count_until_end

_AT_ONCE: Final = 16
_QUESTION_TOKENS, _ANSWER_TOKENS = 96, 256
_FEWEST_TOKENS: Final = 4
"""A shorter question is none; of a shorter answer nothing is learnt."""
_LIKELIEST: Final = 16
"""Tokens of each place that are kept with their probabilities."""
_HEAD_TOKENS: Final = 1024
_ASKING: Final = Sampling(temperature=1.0, top_k=100, top_p=0.95, min_p=0.0)

Tokens = NDArray[np.int32]
Shares = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A question, the target's answer, and its likeliest tokens at every place of that."""

    tokens: Tokens
    """(n,), of both."""
    n_prompt: int
    likeliest: Tokens
    """(n - n_prompt, 16) ids."""
    shares: Shares
    """Their probabilities, scaled to a sum of 1."""


def write_lessons(
    model: Model,
    n_tokens: int,
    n_threads: int,
    report: Callable[[int, int], None],
    has_time: Callable[[], bool] = lambda: True,
) -> list[Lesson]:
    """Lessons of `n_tokens` answered tokens or a few more; sixteen questions in any case.

    Args:
        model: The target.
        n_tokens: Of the answers together.
        n_threads: Of the CPU.
        report: Told about tokens.
        has_time: Whether more may be asked.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    head, tail = _around_a_question(model, n_threads)
    lessons: list[Lesson] = []
    done = n_asked = 0
    while done < n_tokens and (has_time() or not lessons):
        # A seed for every question: each sequence takes the next number.
        asking = replace(_ASKING, seed=1 + n_asked)
        n_asked += _AT_ONCE
        said = answer_side_by_side(model, [head] * _AT_ONCE, _QUESTION_TOKENS, n_threads, asking)
        questions = [[*head, *one[: count_until_end(model, one)], *tail] for one in said]
        questions = [one for one in questions if len(one) >= len(head) + len(tail) + _FEWEST_TOKENS]
        if not questions:
            break
        lessons += _answer(model, questions, n_threads)
        done = sum(len(one.likeliest) for one in lessons)
        report(min(done, n_tokens), n_tokens)
    return lessons


def _around_a_question(model: Model, n_threads: int) -> tuple[list[int], list[int]]:
    """What the model's template puts before and after a question."""
    with Context(model, ContextSettings(_HEAD_TOKENS, n_threads)) as context:
        one, other = (tokenize_chat(context, [ChatMessage("user", word)]) for word in ("Why", "Compare"))
    if model.chat_template is None:
        return one[: shared_prefix(one, other)] or one[:1], []
    tail = shared_prefix(one[::-1], other[::-1])
    return one[: shared_prefix(one, other)], one[len(one) - tail :]


def _answer(model: Model, questions: Sequence[list[int]], n_threads: int) -> list[Lesson]:
    likeliest: list[Tokens] = []
    shares: list[Shares] = []

    def see(logits: Shares) -> None:
        top = np.argpartition(logits, -_LIKELIEST, axis=1)[:, -_LIKELIEST:]
        values = np.take_along_axis(logits, top, axis=1)
        values = np.exp(values - values.max(axis=1, keepdims=True))
        likeliest.append(top.astype(np.int32))
        shares.append(values / values.sum(axis=1, keepdims=True))

    said = answer_side_by_side(model, questions, _ANSWER_TOKENS, n_threads, see=see)
    lessons = []
    for number, (question, answer) in enumerate(zip(questions, said, strict=True)):
        # The token that ends the answer belongs to it: a draft has to know when.
        count = min(count_until_end(model, answer) + 1, len(answer))
        if count < _FEWEST_TOKENS:
            continue
        lessons.append(
            Lesson(
                np.array([*question, *answer[:count]], np.int32),
                len(question),
                np.stack([one[number] for one in likeliest[:count]]),
                np.stack([one[number] for one in shares[:count]]),
            )
        )
    return lessons
