"""Drafts of one fixed length, as most programs make them: what `auto` has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgespec.decode.chain import Chain
from edgespec.decode.costs import PairCosts
from edgespec.decode.drafters.contract import Drafter, Quote, Reading
from edgespec.decode.policy import MAX_DRAFT, DraftingPolicy, Extension, Policy

_PRICELESS = 1e9


@dataclass(slots=True)
class FixedPolicy:
    """Every round drafts the same number of tokens, and all of them are verified."""

    costs: PairCosts
    length: int
    """K, at least 1."""

    def begin(self) -> None:
        """A new answer is like the last one."""

    @property
    def token_worth(self) -> float:
        """More than anything costs."""
        return _PRICELESS

    def join(self, n_answers: int) -> None:
        """Others make no difference."""

    def charge(self, row_price: float) -> None:
        """Nor what it costs."""

    def most(self, remaining: int) -> int:
        """K, or what fits the answer."""
        return min(self.length, remaining - 1)

    def choose_reading(
        self, drafter: Drafter, readings: Sequence[Reading], done: int, remaining: int
    ) -> Reading | None:
        """The one with the fewest rows: reading on, or the shortest window."""
        del drafter, done, remaining
        return min(readings, key=lambda reading: reading.n_rows)

    def weigh(self, chain: Chain, quote: Quote) -> Extension:
        """One more, whatever it costs."""
        del chain
        return Extension(1, 1.0, quote)

    def count_worth_verifying(self, chain: Chain) -> int:
        """All of them."""
        return len(chain.guesses)

    def observe_round(self, tokens: int, rows: int, drafts_s: float, *, was_read: bool) -> None:
        """Nothing is learnt from it."""


def policy_for(
    costs: PairCosts, draft_length: int | None, *, longest: int = MAX_DRAFT, replays: bool = False
) -> DraftingPolicy:
    """The policy of drafts of one length, or of drafts that are as long as it pays where there is none.

    Args:
        costs: Of the pair.
        draft_length: Of every draft, if any.
        longest: Draft that pays at most.
        replays: Whether the target reads again what was right in a draft of which something was wrong.
    """
    if draft_length is not None:
        return FixedPolicy(costs, draft_length)
    return Policy(costs, longest=longest, replays=replays)
