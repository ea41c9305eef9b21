"""Text to distill from: the target asks itself questions, answers them, and says what else it might have said.

A target that is shown the head of a question writes one of the kind that it was trained to answer (Magpie, arXiv
2406.08464), so no collection of questions is needed. Answers are greedy: it is their tokens that a draft has to guess.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.chat.messages import ChatMessage
from edgespec.chat.prompt_tokens import tokenize_messages
from edgespec.decode.engines import shared_prefix
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.progress import SILENT, Progress, advance_to
from edgespec.tune.recordings import Logits, count_until_end, write_batch

_BATCH: Final = 16
_QUESTION_TOKENS, _ANSWER_TOKENS = 96, 256
_FEWEST_TOKENS: Final = 4
"""A shorter question is not one; a shorter answer has nothing to learn from."""
_LIKELIEST: Final = 16
"""Tokens of each place that are kept with their probabilities."""
_ASKING: Final = Sampling(temperature=1.0, top_k=100, top_p=0.95, min_p=0.0)

Tokens = NDArray[np.int32]
Probabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class DistillationSample:
    """A question, the target's answer, and its likeliest tokens at every place of that."""

    tokens: Tokens
    """Of both, `[n_tokens]`."""
    n_prompt: int
    """Tokens of the question."""
    likeliest: Tokens
    """Ids, `[n_tokens - n_prompt, 16]`; row i is about token `n_prompt + i`."""
    probabilities: Probabilities
    """Theirs, of the same shape, each row scaled to a sum of 1."""

    @property
    def n_answered(self) -> int:
        """Tokens of the answer."""
        return len(self.likeliest)


def write_distillation_data(
    model: Model,
    n_tokens: int,
    n_threads: int,
    has_time: Callable[[], bool] = lambda: True,
    progress: Progress = SILENT,
) -> list[DistillationSample]:
    """Samples with `n_tokens` answered tokens together or a few more; sixteen questions in any case.

    Args:
        model: The target.
        n_tokens: Of the answers together.
        n_threads: Of the CPU.
        has_time: Whether more may be asked.
        progress: A stage of its own, in tokens.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    progress.stage("writing distillation data", n_tokens)
    report = advance_to(progress)
    head, tail = _around_a_question(model)
    samples: list[DistillationSample] = []
    done = n_asked = 0
    while done < n_tokens and (has_time() or not samples):
        # A seed for every question: each sequence takes the next number.
        asking = replace(_ASKING, seed=1 + n_asked)
        n_asked += _BATCH
        texts = write_batch(model, [head] * _BATCH, _QUESTION_TOKENS, n_threads, asking)
        questions = [[*head, *text[: count_until_end(model, text)], *tail] for text in texts]
        questions = [one for one in questions if len(one) >= len(head) + len(tail) + _FEWEST_TOKENS]
        if not questions:
            break
        samples += _answer(model, questions, n_threads)
        done = sum(one.n_answered for one in samples)
        report(min(done, n_tokens))
    return samples


def _around_a_question(model: Model) -> tuple[list[int], list[int]]:
    """What the model's template puts before and after a question."""
    one, other = (tokenize_messages(model, [ChatMessage("user", word)]) for word in ("Why", "Compare"))
    if model.chat_template is None:
        return one[: shared_prefix(one, other)] or one[:1], []
    tail = shared_prefix(one[::-1], other[::-1])
    return one[: shared_prefix(one, other)], one[len(one) - tail :]


def _answer(model: Model, questions: Sequence[list[int]], n_threads: int) -> list[DistillationSample]:
    ids: list[Tokens] = []
    probabilities: list[Probabilities] = []

    def see(logits: Logits) -> None:
        top, shares = likeliest_of(logits)
        ids.append(top)
        probabilities.append(shares)

    answers = write_batch(model, questions, _ANSWER_TOKENS, n_threads, see=see)
    samples = []
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        # The token that ends the answer belongs to it: a draft has to know when.
        count = min(count_until_end(model, answer) + 1, len(answer))
        if count < _FEWEST_TOKENS:
            continue
        samples.append(
            DistillationSample(
                np.array([*question, *answer[:count]], np.int32),
                len(question),
                np.stack([one[number] for one in ids[:count]]),
                np.stack([one[number] for one in probabilities[:count]]),
            )
        )
    return samples


def likeliest_of(logits: Logits) -> tuple[Tokens, Probabilities]:
    """The 16 likeliest tokens of each row in no order, and their probabilities, scaled to a sum of 1.

    Args:
        logits: `[n_rows, n_vocab]`.

    Returns:
        Ids and probabilities, `[n_rows, 16]` each.
    """
    top = np.argpartition(logits, -_LIKELIEST, axis=1)[:, -_LIKELIEST:]
    values = np.take_along_axis(logits, top, axis=1)
    values = np.exp(values - values.max(axis=1, keepdims=True))
    return top.astype(np.int32), values / values.sum(axis=1, keepdims=True)
