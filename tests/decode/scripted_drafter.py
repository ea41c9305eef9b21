"""A drafter that quotes and says what a test tells it to: the decisions about drafters without any of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgespec.decode.beliefs import Term, Terms
from edgespec.decode.drafters.contract import Guess, Quote, Reading, Stretch
from edgespec.decode.token import DraftSource


@dataclass(eq=False, slots=True)
class ScriptedDrafter:
    """Quotes `chances` at every place, for as many tokens as there are, and says what was said to it."""

    chances: Sequence[float] = (0.9,) * 15
    """Of its next tokens, wherever the chain ends."""
    says: Sequence[int] | None = None
    """Of the answer, from the history's end on; None where it has no word."""
    step_s: float = 0.0
    source: DraftSource = DraftSource.MODEL
    sees_ahead: bool = False
    to_read: Sequence[Reading] = ()
    turns_out: float | None = None
    """Chance of every guess once it is made; None: as it was quoted."""
    beliefs: tuple[Terms, ...] = ()
    calls: list[tuple[list[int], int, Reading | None]] = field(default_factory=list)
    """What `draft` was asked."""
    history: list[int] = field(default_factory=list)

    def begin(self, history: Sequence[int]) -> None:
        self.history = list(history)

    def extend(self, tokens: Sequence[int]) -> None:
        self.history.extend(tokens)

    def readings(self) -> Sequence[Reading]:
        return self.to_read

    def quote(self, chain: Sequence[int], most: int) -> Quote | None:
        chances = self.chances[:most]
        return Quote(chances, self.step_s, self.step_s) if chances else None

    def draft(self, chain: Sequence[int], count: int, reading: Reading | None) -> list[Guess]:
        self.calls.append((list(chain), count, reading))
        if self.says is None:
            return []
        begin = len(chain)
        said = self.says[begin : begin + (count if self.sees_ahead else 1)]
        return [
            Guess(token, self.source, chance if self.turns_out is None else self.turns_out, self.beliefs)
            for token, chance in zip(said, self.chances, strict=False)
        ]


def reading_of(seconds: float, chance_log_odds: float, variance: float = 0.1, *, n_rows: int = 32) -> Reading:
    """A reading whose guesses are equally likely from then on."""
    return Reading(n_rows, True, seconds, (Stretch(0.0, chance_log_odds, variance),))


def term() -> Term:
    """One that has seen nothing."""
    return Term(0.0, 1.0)
