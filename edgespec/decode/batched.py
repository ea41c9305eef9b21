"""Many answers at once: every sequence gets a token from each decode, up to a length that is given beforehand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from edgespec.llama.row_batch import Ints
from edgespec.llama.sampler import Sampler, Sampling
from edgespec.llama.sequences import SequencesContext


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What a batch wrote and how long it took, in seconds of wall time."""

    tokens: Ints
    """`[n_sequences, output_n]`."""
    latency_s: float
    """From the prompts to the last token of all."""
    ttft_s: float
    """To the first token of all sequences: the prompts, and the first choice."""
    engine_s: float
    """Spent in llama.cpp's decodes; the rest of `latency_s` is choosing tokens and Python."""
    draft_n: int = 0
    """Draft tokens that were tested."""
    draft_n_accepted: int = 0


def generate_batch(
    context: SequencesContext,
    prompts: Sequence[Sequence[int]],
    output_n: int,
    sampling: Sampling,
    *,
    stepped: Callable[[], None] = lambda: None,
) -> BatchAnswer:
    """Writes `output_n` tokens after every prompt; tokens that end a text do not end it here.

    Args:
        context: Has as many sequences as there are prompts, and cells for all of their tokens.
        prompts: At least one token each.
        output_n: At least 1.
        sampling: Each sequence has a sampler with a seed of its own, `sampling.seed` and the numbers after it.
        stepped: Called after every decode.

    Raises:
        ContextOverflowError: they do not fit the context.
        EngineError: llama.cpp failed.
    """
    chooser = Chooser(context, sampling)
    tokens = np.empty((len(prompts), output_n), np.int32)
    try:
        chooser.start(prompts)
        began = perf_counter()
        context.start(prompts)
        context.logits(1)  # waits for devices that compute on their own
        engine_s = perf_counter() - began
        tokens[:, 0] = chooser.choose()
        ttft_s = perf_counter() - began
        for place in range(1, output_n):
            stepped()
            before = perf_counter()
            context.step(tokens[:, place - 1])
            context.logits(1)
            engine_s += perf_counter() - before
            tokens[:, place] = chooser.choose()
        return BatchAnswer(tokens, perf_counter() - began, ttft_s, engine_s)
    finally:
        chooser.close()


class Chooser:
    """The next token of every sequence: the largest logit, or what each one's sampler draws.

    Args:
        context: Of as many sequences as there are answers.
        sampling: Sequence s draws with the seed `sampling.seed` + s.
    """

    def __init__(self, context: SequencesContext, sampling: Sampling) -> None:
        self._context = context
        n_vocab = context.model.n_vocab
        self._samplers = [
            Sampler(replace(sampling, seed=sampling.seed + number), n_vocab)
            for number in range(0 if sampling.is_plain_greedy else context.settings.n_sequences)
        ]

    def start(self, prompts: Sequence[Sequence[int]]) -> None:
        """Shows every sampler its prompt, which penalties count."""
        for sampler, prompt in zip(self._samplers, prompts, strict=False):
            sampler.start(prompt)

    def choose(self) -> Ints:
        """The tokens after the last step, `[n_sequences]`."""
        context, rows = self._context, self._context.rows
        if self._samplers:
            chosen = [s.sample(context, row) for s, row in zip(self._samplers, rows.tolist(), strict=True)]
            return np.array(chosen, np.int32)
        best: Ints = context.logits(context.n_outputs).argmax(axis=1).astype(np.int32)
        return best[rows]

    def verify(self, sequence: int, first: int, drafted: Ints) -> list[int]:
        """The target's own tokens at the rows of one sequence: those of `drafted` that it picks too, and its own next one.

        Where it picks 7, 8, 5 after the drafted 7, 8, 9, these are 7, 8, 5; where it picks 6 at once, 6 alone.

        Args:
            sequence: Whose sampler draws.
            first: Its first row of the last decode's logits, that of the token before the drafted ones.
            drafted: `[n_drafted]`, may be empty.

        Returns:
            One token at least, and one more than were drafted at most.
        """
        logits = self._context.logits(self._context.n_outputs)
        tokens: list[int] = []
        for row in range(first, first + len(drafted) + 1):
            if self._samplers:
                tokens.append(self._samplers[sequence].sample(self._context, row))
            else:
                tokens.append(int(logits[row].argmax()))
            if row - first < len(drafted) and tokens[-1] != drafted[row - first]:
                break
        return tokens

    def close(self) -> None:
        """Frees the samplers."""
        for sampler in self._samplers:
            sampler.close()
