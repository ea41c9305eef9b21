"""Picks the tokens of one answer from its own rows of a decode that it shares with others."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgespec.decode.grammar.constraint import Constraint, pick_fitting
from edgespec.llama.native_context import Logits
from edgespec.llama.sampler import Sampler, Sampling
from edgespec.llama.slots import Slot


@dataclass(frozen=True, slots=True)
class Picking:
    """How an answer's tokens are chosen, and what is told of each."""

    sampling: Sampling = field(default_factory=Sampling)
    logprobs_n: int | None = None
    """How many of the likeliest tokens are told with each one; None for not even its own log probability."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Added to the logits of tokens."""
    constraint: Constraint | None = None
    """What every token has to fit; of this answer alone."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A token's natural log probability, before any sampling setting, and the likeliest tokens' own, the likeliest first."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


class SlotPicker:
    """The picks of one answer.

    Args:
        picking: How.
        n_vocab: Tokens of the vocabulary.
        slot: Where its rows are; another one if it has to move.
    """

    def __init__(self, picking: Picking, n_vocab: int, slot: Slot) -> None:
        self.slot, self._picking = slot, picking
        self._sampler = None if picking.sampling.is_plain_greedy else Sampler(picking.sampling, n_vocab)
        has_more = picking.logit_bias or picking.logprobs_n is not None or picking.constraint
        self._is_plain = self._sampler is None and not has_more
        self._rows: Logits
        self.likelihoods: list[Likelihood] = []
        """Of the tokens that were picked since the list was emptied, if they are wanted."""
        self._biased = np.array([token for token, _ in picking.logit_bias], np.intp)
        self._bias = np.array([bias for _, bias in picking.logit_bias], np.float32)

    def start(self, history: Sequence[int]) -> None:
        """The next pick is the first one behind a text."""
        self.likelihoods.clear()
        if self._sampler:
            self._sampler.start(history)

    def pick(self, row: int) -> int:
        """The largest logit, or what the sampler chain draws, of what the constraint allows.

        Args:
            row: Asked for in order, from 0 after every decode.

        Raises:
            UsageError: the model has no token for what the constraint wants.
        """
        slot = self.slot
        if not row:
            self._rows = slot.logits(slot.n_outputs)
        if self._is_plain:
            return int(self._rows[row].argmax())
        logits, wanted_n = self._rows[row], self._picking.logprobs_n
        plain = logits.copy() if wanted_n is not None and len(self._biased) else logits
        if len(self._biased):
            logits[self._biased] += self._bias
        if self._picking.constraint:
            token = pick_fitting(logits, self._picking.constraint, self._sampler)
        elif self._sampler:
            token = self._sampler.sample(slot.context, slot.first_output + row)
        else:
            token = int(logits.argmax())
        if wanted_n is not None:
            self.likelihoods.append(likelihood(plain, token, wanted_n))
        return token

    def rollback(self, n_past: int) -> None:
        """Forgets everything from position `n_past` on."""
        self.slot.rollback(n_past)

    def is_end(self, token: int) -> bool:
        """Whether the token ends the answer."""
        return self.slot.model.is_end(token)

    def close(self) -> None:
        """Frees the sampler."""
        if self._sampler:
            self._sampler.close()


def likelihood(logits: Logits, token: int, top_n: int) -> Likelihood:
    """The log-softmax of a row of logits, `[n_vocab]`, at a token and at the `top_n` likeliest ones."""
    row = logits.astype(np.float64)
    most = row.max()
    total = most + np.log(np.exp(row - most).sum())
    top_n = min(top_n, len(row))
    best = np.argpartition(row, -top_n)[-top_n:] if top_n else np.empty(0, np.intp)
    best = best[np.argsort(-row[best], kind="stable")]
    return Likelihood(token, float(row[token] - total), tuple((int(b), float(row[b] - total)) for b in best))
