"""Many answers at once with a draft model: both models take a row, or several, of every sequence in one decode.

The length of drafts is that of the cost model of docs/how-it-decides.md, for the whole batch: the K with the most
expected tokens per second, K = 0 included. More sequences make a decode of the target dearer by every row, so that
drafts pay less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edgespec.decode.batched import BatchAnswer, Chooser
from edgespec.decode.costs import CostCurve
from edgespec.decode.timed_text import timed_tokens
from edgespec.llama.row_batch import Ints
from edgespec.llama.sampler import Sampling
from edgespec.llama.sequences import SequencesContext

MOST_DRAFTED = 4
"""Longest draft of a sequence; the target's batches have that many rows and one more of each. Bounds the rows of logits
that a target must keep, and with them its memory: 5 rows of 152k tokens are 3 MB a sequence."""
_FIRST_ACCEPTANCE, _FIRST_WEIGHT = 0.7, 20.0
"""What is believed before anything is known, and how many tested tokens that is worth: chosen, and outweighed within the
first rounds of a batch."""
_TIMED = 3
"""Decodes of each size that are timed, after one that is not; their median is taken."""


@dataclass(frozen=True, slots=True)
class BatchCosts:
    """Seconds of a decode by its rows, those of all sequences together."""

    target: CostCurve
    """With logits on all rows."""
    draft: CostCurve
    """With logits on one row of each sequence."""


def measure_batch_costs(target: SequencesContext, draft: SequencesContext) -> BatchCosts:
    """Medians of timed decodes: of the target with 1 to `MOST_DRAFTED` + 1 rows a sequence, of the draft with 1 and 2.

    Args:
        target: Of as many sequences as will be answered; empty afterwards.
        draft: Likewise.

    Raises:
        EngineError: llama.cpp failed.
    """
    return BatchCosts(
        CostCurve(_time_decodes(target, range(1, MOST_DRAFTED + 2))),
        CostCurve(_time_decodes(draft, range(1, 3))),
    )


def _time_decodes(context: SequencesContext, rows_each: range) -> dict[int, float]:
    n_sequences = len(context.lengths)
    # Every sequence reads a text from a place of its own: one token in all rows would wake the same few experts.
    text = np.array(timed_tokens(context.model), np.int32)
    places = np.arange(n_sequences) * len(text) // n_sequences
    times: dict[int, float] = {}
    for each in rows_each:
        sequences = np.repeat(np.arange(n_sequences, dtype=np.int32), each)
        outputs = np.ones(len(sequences), np.bool_)
        if len(outputs) > context.settings.n_outputs_max:
            outputs = np.arange(len(sequences)) % each == each - 1
        taken = []
        for repeat in range(_TIMED + 1):
            tokens = text[(places[:, None] + np.arange(repeat * each, (repeat + 1) * each)) % len(text)]
            context.clear()
            before = perf_counter()
            context.decode(tokens.ravel(), sequences, outputs)
            context.logits(1)
            taken.append(perf_counter() - before)
        times[len(sequences)] = float(np.median(taken[1:]))
    context.clear()
    return times


@dataclass(slots=True)
class SpeculativeBatch:
    """Answers batches with one target and one draft of the same vocabulary.

    Args:
        target: Keeps `MOST_DRAFTED` + 1 rows of logits a sequence; its sequences share one cache.
        draft: Of as many sequences; keeps a row of logits each.
        costs: Of both, for batches of this size.
        accepted: Draft tokens that the target picked too.
        tested: Draft tokens that were compared with its picks, those believed in beforehand included.
    """

    target: SequencesContext
    draft: SequencesContext
    costs: BatchCosts
    accepted: float = _FIRST_ACCEPTANCE * _FIRST_WEIGHT
    tested: float = _FIRST_WEIGHT

    def draft_length(self) -> int:
        """The K that promises the most tokens per second."""
        n_sequences = len(self.target.lengths)
        acceptance = self.accepted / self.tested
        rates, gained, reach = [], 1.0, 1.0
        for length in range(MOST_DRAFTED + 1):
            spent_s = self.costs.target.cost(n_sequences * (length + 1))
            spent_s += length * self.costs.draft.cost(n_sequences)
            if self.target.abilities.replays:
                spent_s += self._replay_s(length + 1, gained, reach)
            rates.append(gained / spent_s)
            reach *= acceptance
            gained += reach
        return max(range(len(rates)), key=rates.__getitem__)

    def _replay_s(self, rows_each: int, gained: float, reach: float) -> float:
        """Seconds of the pass in which those sequences read again what was right whose drafts were not all right.

        Args:
            rows_each: Of each sequence's draft, with the token before it.
            gained: Expected tokens of a sequence.
            reach: Chance that all of its draft holds.
        """
        n_sequences = len(self.target.lengths)
        rows = max(round(n_sequences * (gained - reach * rows_each)), 1)
        return (1.0 - reach**n_sequences) * self.costs.target.cost(rows)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        output_n: int,
        sampling: Sampling,
        *,
        stepped: Callable[[], None] = lambda: None,
    ) -> BatchAnswer:
        """As `generate_batch`, with the same tokens: every drafted one is what the target picks itself.

        Args:
            prompts: One for each sequence, of a token at least.
            output_n: Tokens of every answer, at least 1.
            sampling: Each sequence has a sampler with a seed of its own, `sampling.seed` and the numbers after it.
            stepped: Called after every round.

        Raises:
            ContextOverflowError: they do not fit the contexts.
            EngineError: llama.cpp failed.
        """
        work = _Work(self, prompts, output_n, sampling)
        try:
            return work.run(stepped)
        finally:
            work.chooser.close()


class _Work:
    """One batch under way. `tokens` is `[n_sequences, output_n]`; `done[s]` is how many of sequence s are out."""

    def __init__(
        self,
        owner: SpeculativeBatch,
        prompts: Sequence[Sequence[int]],
        output_n: int,
        sampling: Sampling,
    ) -> None:
        self.owner, self.target, self.draft = owner, owner.target, owner.draft
        self.prompts, self.output_n = prompts, output_n
        self.chooser = Chooser(self.target, sampling)
        self.tokens: Ints = np.zeros((len(prompts), output_n), np.int32)
        self.done: Ints = np.zeros(len(prompts), np.int32)
        self.engine_s = 0.0
        self.draft_n = self.draft_n_accepted = 0

    def run(self, stepped: Callable[[], None]) -> BatchAnswer:
        self.chooser.start(self.prompts)
        began = perf_counter()
        self._timed(self.target, partial(self.target.start, self.prompts))
        self.tokens[:, 0] = self.chooser.choose()
        self.done[:] = 1
        ttft_s = perf_counter() - began
        drafts = self.owner.draft_length() > 0
        if drafts:
            self._timed(self.draft, partial(self.draft.start, self.prompts))
        while (self.done < self.output_n).any():
            stepped()
            # A draft that was left stays behind for the rest of the batch.
            drafts = drafts and self.owner.draft_length() > 0
            self._round(self.owner.draft_length() if drafts else 0)
        latency_s = perf_counter() - began
        return BatchAnswer(self.tokens, latency_s, ttft_s, self.engine_s, self.draft_n, self.draft_n_accepted)

    def _round(self, most: int) -> None:
        """Drafts for every sequence that is not done, verifies all of it in one decode, and keeps what holds."""
        active = np.flatnonzero(self.done < self.output_n)
        lengths = np.minimum(most, self.output_n - self.done[active] - 1)
        drafted = self._drafts(active, int(lengths.max()))
        rows = np.concatenate(
            [
                [self.tokens[s, self.done[s] - 1], *drafted[i, :n]]
                for i, (s, n) in enumerate(zip(active, lengths, strict=True))
            ]
        ).astype(np.int32)
        sequences = np.repeat(active, lengths + 1).astype(np.int32)
        if drafted.size:
            self.target.mark(active.astype(np.int32), (lengths + 1).astype(np.int32))
        self._timed(self.target, partial(self.target.decode, rows, sequences, np.ones(len(rows), np.bool_)))
        first = 0
        for i, (sequence, length) in enumerate(zip(active.tolist(), lengths.tolist(), strict=True)):
            self._take(sequence, self.chooser.verify(sequence, first, drafted[i, :length]), length)
            first += length + 1

    def _take(self, sequence: int, tokens: list[int], length: int) -> None:
        """Books what a sequence got: the drafted tokens that held, and the target's own."""
        done, accepted = int(self.done[sequence]), len(tokens) - 1
        self.tokens[sequence, done : done + len(tokens)] = tokens
        self.done[sequence] += len(tokens)
        kept = len(self.prompts[sequence]) + done + accepted
        self.target.rollback(sequence, kept)
        self.draft.rollback(sequence, kept)
        tested = min(accepted + 1, length)
        self.draft_n += tested
        self.draft_n_accepted += accepted
        self.owner.tested += tested
        self.owner.accepted += accepted

    def _drafts(self, active: NDArray[np.intp], most: int) -> Ints:
        """The draft's next tokens for every active sequence, `[n_active, most]`."""
        drafted: Ints = np.zeros((len(active), most), np.int32)
        if most == 0:
            return drafted
        rows, sequences = self._unread(active)
        ends = np.append(sequences[1:] != sequences[:-1], True)
        self._timed(self.draft, partial(self.draft.decode, rows, sequences, ends))
        drafted[:, 0] = self.draft.logits(len(active)).argmax(axis=1)
        everyone, all_rows = active.astype(np.int32), np.ones(len(active), np.bool_)
        if most > 1:
            self.draft.mark(everyone, None)
        for place in range(1, most):
            self._timed(self.draft, partial(self.draft.decode, drafted[:, place - 1], everyone, all_rows))
            drafted[:, place] = self.draft.logits(len(active)).argmax(axis=1)
        return drafted

    def _unread(self, active: NDArray[np.intp]) -> tuple[Ints, Ints]:
        """What the draft has not read of the active sequences: the last token, and at times the one before it.

        Returns:
            Tokens and whose they are, both `[n_rows]`; those of one sequence stand side by side.
        """
        rows: list[int] = []
        sequences: list[int] = []
        for sequence in active.tolist():
            read = int(self.draft.lengths[sequence]) - len(self.prompts[sequence])
            lacking = self.tokens[sequence, read : self.done[sequence]].tolist()
            rows += lacking
            sequences += [sequence] * len(lacking)
        return np.array(rows, np.int32), np.array(sequences, np.int32)

    def _timed(self, context: SequencesContext, work: Callable[[], None]) -> None:
        before = perf_counter()
        work()
        context.logits(1)
        self.engine_s += perf_counter() - before
