"""What a round has drafted so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgespec.decode.drafters.contract import Guess


@dataclass(slots=True)
class Chain:
    """Guesses one behind the other.

    Guesses that hold with 0.9 and then with 0.5 have a reach of 0.45, and `gained` is 1, 1.9, 2.35.
    """

    guesses: list[Guess] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    reach: float = 1.0
    """Chance that all of them hold."""
    gained: list[float] = field(default_factory=lambda: [1.0])
    """Expected tokens of the round if so many guesses are verified, from none on; the target's own is always one."""

    def extend(self, guesses: Sequence[Guess]) -> None:
        """Adds guesses at the end."""
        for guess in guesses:
            self.guesses.append(guess)
            self.tokens.append(guess.token)
            self.reach *= guess.chance
            self.gained.append(self.gained[-1] + self.reach)

    def cut(self, count: int) -> None:
        """Keeps the first `count` guesses, for the target."""
        del self.guesses[count:], self.tokens[count:], self.gained[count + 1 :]
