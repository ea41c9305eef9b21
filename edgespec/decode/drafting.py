"""A round's draft: whoever goes on best goes on, for as long as one more guess is expected to pay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgespec.decode.beliefs import learn
from edgespec.decode.chain import Chain
from edgespec.decode.drafters.contract import Drafter, Reading, SharingDrafter, Steps, run_alone
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.policy import DraftingPolicy, Extension


@dataclass(slots=True)
class Drafted:
    """A round's draft, under way and done."""

    chain: Chain
    ready: dict[Drafter, Reading | None]
    """Who takes part, and what it has yet to read."""
    was_read: bool
    """Whether any of them had to be made ready."""
    spent_s: float = 0.0
    """What the guesses should have cost."""
    drafters_s: float = 0.0
    """What the drafters took."""


class Drafting:
    """Drafts for one generator.

    Args:
        drafters: Who may guess.
        policy: Says who reads, who guesses, and how far.
        clock: Seconds.
        constraint: What the target's tokens have to fit, if anything: no other guess is verified.
    """

    def __init__(
        self,
        drafters: Sequence[Drafter],
        policy: DraftingPolicy,
        clock: Callable[[], float],
        constraint: Constraint | None = None,
    ) -> None:
        self._drafters, self._policy, self._clock = drafters, policy, clock
        self._constraint = constraint
        self._sharing = {drafter: drafter for drafter in drafters if isinstance(drafter, SharingDrafter)}

    def begin(self, history: Sequence[int]) -> None:
        """A new answer: `history` is its prompt and its first token."""
        self._policy.begin()
        for drafter in self._drafters:
            drafter.begin(history)

    def draft(self, done: int, remaining: int) -> Drafted:
        """The guesses that go to the target with the next pass.

        Args:
            done: Tokens of the answer that are out.
            remaining: Tokens that it may still have.

        Raises:
            EngineError: llama.cpp failed.
        """
        return run_alone(self.steps(done, remaining))

    def steps(self, done: int, remaining: int) -> Steps[Drafted]:
        """The same, with every pass of a drafter that can share it left to whoever runs this.

        Args:
            done: Tokens of the answer that are out.
            remaining: Tokens that it may still have.

        Raises:
            EngineError: llama.cpp failed.
        """
        most = self._policy.most(remaining) if self._drafters else 0
        if most < 1:
            return Drafted(Chain(), {}, was_read=False)
        drafted = self._get_ready(done, remaining)
        chain, idle = drafted.chain, None
        while len(chain.guesses) < most:
            found = self._best_extension(drafted, most - len(chain.guesses), idle)
            if found is None:
                break
            drafter, extension = found
            yield from self._extend(drafted, drafter, extension)
            idle = drafter if drafter.sees_ahead else None
        chain.cut(self._policy.count_worth_verifying(chain))
        return drafted

    def observe(self, drafted: Drafted, tokens: Sequence[int]) -> None:
        """Learns from what the target said: from every guess up to and with the first rejected one.

        Args:
            drafted: What went to it.
            tokens: What it said.
        """
        if not self._drafters:
            return
        for guess, token in zip(drafted.chain.guesses, tokens, strict=False):
            for terms in guess.beliefs:
                learn(terms, guess.token == token)
        self._policy.observe_round(
            len(tokens), len(drafted.chain.guesses) + 1, drafted.spent_s, was_read=drafted.was_read
        )
        for drafter in self._drafters:
            drafter.extend(tokens)

    def _get_ready(self, done: int, remaining: int) -> Drafted:
        """Who takes part in a round: whoever has nothing to read, and whose reading is worth it."""
        drafted = Drafted(Chain(), {}, was_read=False)
        for drafter in self._drafters:
            before = self._clock()
            readings = drafter.readings()
            drafted.drafters_s += self._clock() - before
            if not readings:
                drafted.ready[drafter] = None
                continue
            reading = self._policy.choose_reading(drafter, readings, done, remaining)
            if reading:
                drafted.ready[drafter] = reading
                drafted.was_read = True
        return drafted

    def _best_extension(
        self, drafted: Drafted, most: int, idle: Drafter | None
    ) -> tuple[Drafter, Extension] | None:
        """Who goes on behind the chain, and how far; None where nobody pays.

        What is read for a gain that is not certain has to be found out: whoever was made ready guesses once at least.

        Args:
            drafted: The round so far.
            most: Tokens to come.
            idle: Who has just said all that it was asked for.
        """
        best = untried = None
        for drafter, reading in drafted.ready.items():
            if drafter is idle:
                continue
            before = self._clock()
            quote = drafter.quote(drafted.chain.tokens, most)
            drafted.drafters_s += self._clock() - before
            if quote is None:
                continue
            found = drafter, self._policy.weigh(drafted.chain, quote)
            if best is None or found[1].gain > best[1].gain:
                best = found
            if reading:
                untried = found
        if best and best[1].gain > 0.0:
            return best
        return None if drafted.chain.guesses else untried

    def _extend(self, drafted: Drafted, drafter: Drafter, extension: Extension) -> Steps[None]:
        """Lets a drafter go on; one without a word is out of the round."""
        before = self._clock()
        reading = drafted.ready[drafter]
        if drafter in self._sharing:
            guesses = yield from self._sharing[drafter].steps(drafted.chain.tokens, reading)
        else:
            guesses = drafter.draft(drafted.chain.tokens, extension.count, reading)
        quote = extension.quote
        drafted.spent_s += quote.first_s + max(len(guesses) - 1, 0) * quote.next_s
        if self._constraint:
            chain = drafted.chain.tokens
            fitting = self._constraint.count_fitting([*chain, *(guess.token for guess in guesses)])
            del guesses[fitting - len(chain) :]
        drafted.chain.extend(guesses)
        if reading:
            drafted.spent_s += reading.seconds
            drafted.ready[drafter] = None
        if not guesses:
            del drafted.ready[drafter]
        drafted.drafters_s += self._clock() - before
