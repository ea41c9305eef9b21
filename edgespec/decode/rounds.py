"""The rounds of one answer, apart from the target's decode: what is proposed to it, and what comes of what it says."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from edgespec.decode.drafters.contract import Drafter, Steps, run_alone
from edgespec.decode.drafting import Drafted, Drafting
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.policy import DraftingPolicy
from edgespec.decode.token import DraftSource, GenerationStats


class Picker(Protocol):
    """What chooses the tokens of one answer after a decode of the target."""

    def pick(self, row: int) -> int:
        """The target's own choice after output row `row` of this answer; rows are asked for in order."""
        ...

    def rollback(self, n_past: int) -> None:
        """Forgets everything from position `n_past` on."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the token ends the answer."""
        ...


class Rounds:
    """One answer after the other, a round at a time: `propose`, a decode of the target with what that returned, `verify`, `learn`.

    Args:
        picker: Says what the target does.
        drafters: Guess ahead; none for plain decoding.
        policy: Says how much is drafted.
        clock: Seconds.
        constraint: What the target's tokens have to fit, if anything.
    """

    def __init__(
        self,
        picker: Picker,
        drafters: Sequence[Drafter],
        policy: DraftingPolicy,
        clock: Callable[[], float],
        constraint: Constraint | None = None,
    ) -> None:
        self._picker, self._clock = picker, clock
        self._drafting = Drafting(drafters, policy, clock, constraint)
        self._last = self._n_past = 0
        self._drafted: Drafted
        self.stats = GenerationStats()
        """Of the answer that is under way; rounds are booked there."""

    def begin(self, history: Sequence[int]) -> None:
        """A new answer: `history` is its prompt and its first token."""
        self._last = history[-1]
        self._n_past = len(history) - 1
        self._drafting.begin(history)

    def propose(self, remaining: int) -> list[int]:
        """The tokens of the next decode, with logits on all: the last one of the answer, and what is drafted behind it.

        Args:
            remaining: Tokens that the answer may still have, and that fit the context.

        Raises:
            EngineError: llama.cpp failed.
        """
        return run_alone(self.steps(remaining))

    def steps(self, remaining: int) -> Steps[list[int]]:
        """The same, with passes of drafters that others can share left to whoever runs this."""
        stats, before = self.stats, self._clock()
        self._drafted = drafted = yield from self._drafting.steps(stats.predicted_n, remaining)
        stats.draft_s += drafted.drafters_s
        stats.policy_s += self._clock() - before - drafted.drafters_s
        return [self._last, *drafted.chain.tokens]

    @property
    def promises(self) -> list[float]:
        """Chances that the drafted tokens come out of the round, one by one: none is above the one before it."""
        gained = self._drafted.chain.gained
        return [more - less for less, more in pairwise(gained)]

    def cut(self, count: int) -> list[int]:
        """Leaves all drafted tokens out but the first `count`; returns what is then proposed."""
        self._drafted.chain.cut(count)
        return [self._last, *self._drafted.chain.tokens]

    def verify(self) -> list[int]:
        """After that decode: the drafted tokens that the target picks too, and its own next one. The cache keeps no others."""
        drafted, picker = self._drafted.chain.tokens, self._picker
        tokens: list[int] = []
        for row in range(len(drafted) + 1):
            token = picker.pick(row)
            tokens.append(token)
            if row == len(drafted) or token != drafted[row] or picker.is_end(token):
                break
        self._n_past += len(tokens)
        picker.rollback(self._n_past)
        self._last = tokens[-1]
        return tokens

    def learn(self, tokens: Sequence[int]) -> list[DraftSource]:
        """Takes in what `verify` returned, and books it; returns who thought of each token."""
        stats, before = self.stats, self._clock()
        stats.target_passes += 1
        drafted = self._drafted
        self._drafting.observe(drafted, tokens)
        stats.policy_s += self._clock() - before
        tested = list(zip(drafted.chain.guesses, tokens, strict=False))
        sources = [guess.source for guess, _ in tested]
        held = [guess.token == token for guess, token in tested]
        stats.count_round(sources, held)
        n_held = sum(held)
        return sources[:n_held] + [DraftSource.TARGET] * (len(tokens) - n_held)
