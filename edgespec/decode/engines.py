"""What the generation loop asks of its target; the real one, and a scripted one in the tests."""

from collections.abc import Sequence
from typing import Protocol

from edgespec.decode.grammar.constraint import Constraint, pick_fitting
from edgespec.llama.context import Context
from edgespec.llama.sampler import Sampler, Sampling

LEAST_KEPT = 64
"""Tokens of a prompt from which on it pays to keep a copy of a state that cannot be gone back to: fewer are read again."""
TURN_END = 8
"""Tokens of a prompt behind that copy: what opens the answer is often another text in the next turn's prompt."""

_BLOCK = 64


class Target(Protocol):
    """The model whose text is generated."""

    def start(self, prompt: Sequence[int]) -> int:
        """Evaluates what the cache lacks of the prompt, of a token at least; returns how many tokens that were."""
        ...

    def pick(self, row: int) -> int:
        """The target's own choice after output row `row` of the last evaluation; rows are asked for in order."""
        ...

    def evaluate(self, tokens: Sequence[int], batch: int) -> int:
        """Evaluates `tokens`, with logits on every row, if possible as a batch of `batch` rows.

        Returns:
            The rows that were computed: more where some had to be read again, or fill the batch.
        """
        ...

    def rollback(self, n_past: int) -> None:
        """Forgets everything from position `n_past` on."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the token ends the answer."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for."""
        ...

    @property
    def free_tokens(self) -> int:
        """Tokens that still fit the context."""
        ...

    def close(self) -> None:
        """Frees what is its own."""
        ...


class LlamaTarget:
    """A target in llama.cpp, with its sampler.

    Args:
        context: Keeps logits for all rows of a verification.
        sampling: How it picks.
        constraint: What every token has to fit, if anything.
    """

    def __init__(self, context: Context, sampling: Sampling, constraint: Constraint | None = None) -> None:
        self.context = context
        self._constraint = constraint
        self._sampler = None if sampling.is_plain_greedy else Sampler(sampling, context.model.n_vocab)

    @property
    def free_tokens(self) -> int:
        """Tokens that still fit the context."""
        return self.context.free_tokens

    def start(self, prompt: Sequence[int]) -> int:
        """Evaluates what the cache lacks of the prompt; the last token always, for its logits.

        Returns:
            How many tokens were evaluated.

        Raises:
            ContextOverflowError: the prompt does not fit.
            EngineError: llama.cpp failed.
        """
        if self._sampler:
            self._sampler.start(prompt)
        context = self.context
        kept = min(shared_prefix(context.tokens, prompt), len(prompt) - 1)
        context.rollback(kept)
        evaluated = len(prompt) - kept + context.n_unread
        if evaluated > LEAST_KEPT and not context.abilities.keeps_all:
            turn = len(prompt) - TURN_END
            # An earlier answer to this prompt leaves all of it but the last token, and perhaps none of it to come back to.
            kept = min(kept, turn)
            context.rollback(kept)
            context.prefill(prompt[kept:turn])
            context.keep()
            kept = turn
        context.prefill(prompt[kept:])
        self._logits = context.logits(1)
        return evaluated

    def evaluate(self, tokens: Sequence[int], batch: int) -> int:
        """Evaluates `tokens`, with logits on every row, as a batch of at least `batch` rows where rows can be added.

        Returns:
            The rows that were computed.
        """
        if len(tokens) > 1:
            self.context.mark(len(tokens))
        rows = self.context.decode(tokens, outputs=len(tokens), pad_to=batch)
        self._logits = self.context.logits(len(tokens))
        return rows

    def pick(self, row: int) -> int:
        """The largest logit, or what the sampler chain draws, of what the constraint allows.

        Raises:
            UsageError: the model has no token for what the constraint wants.
        """
        if self._constraint:
            return pick_fitting(self._logits[row], self._constraint, self._sampler)
        if self._sampler:
            return self._sampler.sample(self.context, row)
        return int(self._logits[row].argmax())

    def rollback(self, n_past: int) -> None:
        """Forgets everything from position `n_past` on."""
        self.context.rollback(n_past)

    def is_end(self, token: int) -> bool:
        """Whether the token ends the answer."""
        return self.context.model.is_end(token)

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for."""
        return self.context.model.token_bytes(token)

    def close(self) -> None:
        """Frees the sampler; the context belongs to the session."""
        if self._sampler:
            self._sampler.close()


def shared_prefix(left: Sequence[int], right: Sequence[int], known: int = 0) -> int:
    """How many leading tokens two sequences share, of which `known` need not be compared: 2 for 5, 6, 7 and 5, 6, 8."""
    limit = min(len(left), len(right))
    count = min(known, limit)
    # A block at a time is compared in C.
    while count < limit and left[count : count + _BLOCK] == right[count : count + _BLOCK]:
        count = min(count + _BLOCK, limit)
    while count < limit and left[count] == right[count]:
        count += 1
    return count
