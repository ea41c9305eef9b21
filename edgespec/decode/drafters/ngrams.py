"""Drafts from the text itself: what followed where it stood before as it stands now. Free, and known in advance."""

from collections.abc import Sequence

from edgespec.decode.acceptance import MATCH_ANSWER_VARIANCE, Acceptance
from edgespec.decode.beliefs import Term, Terms, expected_chance, learn
from edgespec.decode.drafters.contract import Guess, Quote, Reading
from edgespec.decode.drafters.ngram_index import NgramIndex, NgramMatch
from edgespec.decode.token import DraftSource


class NgramDrafter:
    """N-gram matches as a drafter. It learns from every match, drafted or not.

    Args:
        acceptance: Of the pair; corrected on the way.
    """

    source = DraftSource.NGRAM
    sees_ahead = True
    step_s = 0.0

    def __init__(self, acceptance: Acceptance) -> None:
        self._acceptance = acceptance
        self._index = NgramIndex()
        self._match: NgramMatch | None = None
        self._answer = Term(0.0, MATCH_ANSWER_VARIANCE)

    def begin(self, history: Sequence[int]) -> None:
        """A new answer."""
        self._index.reset(history)
        self._match = self._index.find()
        self._answer = Term(0.0, MATCH_ANSWER_VARIANCE)

    def extend(self, tokens: Sequence[int]) -> None:
        """What the match at hand would have brought is known whether it was drafted or not."""
        if self._match:
            proposed = self._index.propose(self._match, len(tokens))
            for offset, (guess, token) in enumerate(zip(proposed, tokens, strict=True)):
                learn(self._terms(self._match, offset), guess == token)
                if guess != token:
                    break
        self._index.extend(tokens)
        self._match = self._index.find()

    def readings(self) -> Sequence[Reading]:
        """None: the text is at hand."""
        return ()

    def quote(self, chain: Sequence[int], most: int) -> Quote | None:
        """Free tokens, as likely as the length of the match makes them."""
        match = self._find(chain)
        if match is None:
            return None
        return Quote((expected_chance(self._terms(match, offset)) for offset in range(most)), 0.0, 0.0)

    def draft(self, chain: Sequence[int], count: int, reading: Reading | None = None) -> list[Guess]:
        """What followed the match."""
        del reading
        match = self._find(chain)
        if match is None:
            return []
        guesses = []
        for offset, token in enumerate(self._index.propose(match, count, chain)):
            terms = self._terms(match, offset)
            # `extend` learns from the match at the history's own end.
            beliefs = (terms,) if chain else ()
            guesses.append(Guess(token, self.source, expected_chance(terms), beliefs))
        return guesses

    def _find(self, chain: Sequence[int]) -> NgramMatch | None:
        return self._index.find(chain) if chain else self._match

    def _terms(self, match: NgramMatch, offset: int) -> Terms:
        return (self._acceptance.of_match(match.length + offset, match.agreed), self._answer)
