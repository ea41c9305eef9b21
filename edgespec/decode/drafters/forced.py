"""Drafts what a grammar leaves no choice about: free, and as good as certain. Only where its tokens end is for the target to say."""

from collections.abc import Sequence

from edgespec.decode.acceptance import MATCH_ANSWER_VARIANCE, Acceptance
from edgespec.decode.beliefs import Term, Terms, expected_chance, learn
from edgespec.decode.drafters.contract import Guess, Quote, Reading
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.token import DraftSource


class ForcedDrafter:
    """The tokens of forced text, as the tokenizer cuts it. It learns from every such text, drafted or not.

    Args:
        constraint: Of the answer; the target tells it each token.
        acceptance: Of the pair; corrected on the way.
    """

    source = DraftSource.GRAMMAR
    sees_ahead = True
    step_s = 0.0

    def __init__(self, constraint: Constraint, acceptance: Acceptance) -> None:
        self._constraint, self._acceptance = constraint, acceptance
        self._proposed: list[int] | None = None
        """Behind the history, as far as it was asked for."""
        self._answer = Term(0.0, MATCH_ANSWER_VARIANCE)

    def begin(self, history: Sequence[int]) -> None:
        """A new answer."""
        del history
        self._proposed = None
        self._answer = Term(0.0, MATCH_ANSWER_VARIANCE)

    def extend(self, tokens: Sequence[int]) -> None:
        """What was proposed behind the history is known to be right or wrong, drafted or not."""
        proposed, self._proposed = self._proposed or [], None
        for place, (guess, token) in enumerate(zip(proposed, tokens, strict=False)):
            learn(self._terms(place, len(proposed)), guess == token)
            if guess != token:
                break

    def readings(self) -> Sequence[Reading]:
        """None: the grammar is at hand."""
        return ()

    def quote(self, chain: Sequence[int], most: int) -> Quote | None:
        """Free tokens; the last one of a text is less likely than those before it."""
        tokens = self._propose(chain)
        if not tokens:
            return None
        count = min(most, len(tokens))
        chances = [expected_chance(self._terms(place, len(tokens))) for place in range(count)]
        return Quote(chances, 0.0, 0.0)

    def draft(self, chain: Sequence[int], count: int, reading: Reading | None = None) -> list[Guess]:
        """The tokens of what has to come."""
        del reading
        tokens = self._propose(chain)
        guesses = []
        for place, token in enumerate(tokens[:count]):
            terms = self._terms(place, len(tokens))
            # `extend` learns from what is forced at the history's own end.
            beliefs = (terms,) if chain else ()
            guesses.append(Guess(token, self.source, expected_chance(terms), beliefs))
        return guesses

    def _propose(self, chain: Sequence[int]) -> list[int]:
        if chain:
            return self._constraint.forced(chain)
        if self._proposed is None:
            self._proposed = self._constraint.forced()
        return self._proposed

    def _terms(self, place: int, count: int) -> Terms:
        return (self._acceptance.forced[place == count - 1], self._answer)
