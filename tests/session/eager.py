"""A policy that drafts whenever it can, so that what is tested does not depend on the speed of this machine."""

from dataclasses import dataclass

import pytest

from edgespec.decode import costs
from edgespec.decode.ngram import NgramMatch
from edgespec.decode.policy import Kind, Mode, Policy, RoundChoice
from edgespec.session import engine

LONGEST = 4


@dataclass(slots=True)
class EagerPolicy(Policy):
    """N-grams where there is a match, else the model, four tokens at a time; costs play no part."""

    def may_use_model(self, done: int) -> bool:
        return self.mode in (Mode.MODEL, Mode.AUTO)

    def choose(self, match: NgramMatch | None, missing: int | None, done: int, remaining: int) -> RoundChoice:
        if self.mode is not Mode.OFF and remaining > 1:
            if match and self.mode in (Mode.NGRAM, Mode.AUTO):
                return RoundChoice(Kind.NGRAM, min(LONGEST, remaining - 1), 1.0)
            if missing is not None and self.mode in (Mode.MODEL, Mode.AUTO):
                return RoundChoice(Kind.MODEL, 0, 1.0)
        return RoundChoice(Kind.PLAIN, 0, 1.0)

    def keeps_drafting(self, leads: list[float], rate: float, remaining: int) -> bool:
        return len(leads) < min(LONGEST, remaining - 1)

    def n_worth_verifying(self, leads: list[float], rate: float) -> int:
        return len(leads)


def draft_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session and benchmark of this test drafts whenever it can."""
    monkeypatch.setattr(engine, "Policy", EagerPolicy)
    monkeypatch.setattr(costs, "MIN_WINDOW", costs.MAX_WINDOW)
