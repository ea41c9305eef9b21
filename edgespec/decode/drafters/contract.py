"""The contract of what drafts. The policy asks what a guess costs and how likely it is to hold, and knows no kind by name.

A round builds a chain of guesses. At its end every drafter quotes a price for going on from there, so that one may go
on where another stopped: a model behind an n-gram match, an n-gram match behind a model's guess. A new kind (a head of
the target's own, a block in one pass, tokens that a grammar forces) is one more file with these methods.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from edgespec.decode.beliefs import Terms
from edgespec.decode.token import DraftSource
from edgespec.llama.slots import Part


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is believed of guesses in a stretch of the answer to come: normally distributed log-odds."""

    n_tokens: float
    log_odds: float
    variance: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A way for a drafter to get ready: what it would read first, and what its guesses would then be worth."""

    n_rows: int
    is_fresh: bool
    """Whether it forgets what it holds and reads the last `n_rows` tokens alone."""
    seconds: float
    """Beyond what a guess costs when nothing is missing."""
    outlook: tuple[Stretch, ...]
    """One stretch after the other; the last one has no end."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A price for going on behind a chain."""

    chances: Iterable[float]
    """0 to 1, of the next tokens, each if those before it hold; at least one. To be gone through once."""
    first_s: float
    """Seconds of the first one."""
    next_s: float
    """Seconds of each one behind it."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A drafted token."""

    token: int
    source: DraftSource
    chance: float
    """Of being the target's own choice, if those before it are."""
    beliefs: tuple[Terms, ...]
    """What learns from the outcome."""


class Drafter(Protocol):
    """Something that guesses ahead in the target's token ids. Its costs and beliefs are those of the pair."""

    @property
    def source(self) -> DraftSource:
        """Whose tokens these are in the figures of an answer."""
        ...

    @property
    def sees_ahead(self) -> bool:
        """Whether it knows what its tokens will be before they are paid for; else it goes on one by one."""
        ...

    @property
    def step_s(self) -> float:
        """Seconds of one guess when nothing is missing."""
        ...

    def begin(self, history: Sequence[int]) -> None:
        """A new answer: `history` is its prompt and what is out of it."""
        ...

    def extend(self, tokens: Sequence[int]) -> None:
        """The target has said these: they are learnt from and added to the history."""
        ...

    def readings(self) -> Sequence[Reading]:
        """The ways to get ready for the next round; none where nothing ever has to be read."""
        ...

    def quote(self, chain: Sequence[int], most: int) -> Quote | None:
        """The price of up to `most` tokens behind the history and a chain, once it is ready; None with nothing to say."""
        ...

    def draft(self, chain: Sequence[int], count: int, reading: Reading | None) -> list[Guess]:
        """The next `count` tokens at most; fewer or none where it has no word.

        Args:
            chain: Guessed already, by whomever.
            count: At least 1.
            reading: What it does first; None where it is ready.

        Raises:
            EngineError: llama.cpp failed.
        """
        ...


Result = TypeVar("Result")
Steps = Generator[Part, None, Result]
"""Work that stops before each of its decodes, hands out what it wants decoded, and goes on when that is done."""


@runtime_checkable
class SharingDrafter(Drafter, Protocol):
    """A drafter whose passes can be made together with those of other answers."""

    def steps(self, chain: Sequence[int], reading: Reading | None) -> Steps[list[Guess]]:
        """As `draft` of one token, with its decode left to whoever runs this."""
        ...


def run_alone(steps: Steps[Result]) -> Result:
    """Does work to its end, with decodes of its own."""
    try:
        while True:
            part = next(steps)
            part.slot.context.decode([part])
    except StopIteration as done:
        result: Result = done.value
        return result
