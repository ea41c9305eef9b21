"""A drafter that knows what will be said and says some of it wrong, for scripts that need drafts of a known quality."""

from collections.abc import Callable, Sequence

from edgespec.decode.drafters.contract import Guess, Quote, Reading
from edgespec.decode.token import DraftSource


class RecitingDrafter:
    """Free drafts, one token at a time.

    Args:
        answer: All tokens of the answer.
        is_right: By a token's place in the answer, whether it is said right.
        chance: That the drafter claims for each.
        n_vocab: Of the target.
    """

    source = DraftSource.NGRAM
    sees_ahead = False
    step_s = 0.0

    def __init__(
        self, answer: Sequence[int], is_right: Callable[[int], bool], chance: float, n_vocab: int
    ) -> None:
        self._answer, self._is_right, self._chance, self._n_vocab = answer, is_right, chance, n_vocab
        self._done = 0

    def begin(self, history: Sequence[int]) -> None:
        """A prompt and the first token of its answer."""
        self._done = 1

    def extend(self, tokens: Sequence[int]) -> None:
        """What the target said."""
        self._done += len(tokens)

    def readings(self) -> Sequence[Reading]:
        """None: nothing is read."""
        return ()

    def quote(self, chain: Sequence[int], most: int) -> Quote | None:
        """Its chance, for nothing."""
        return Quote((self._chance for _ in range(most)), 0.0, 0.0)

    def draft(self, chain: Sequence[int], count: int, reading: Reading | None = None) -> list[Guess]:
        """The next token, or another one in its place; none behind the answer's end."""
        place = self._done + len(chain)
        if place >= len(self._answer):
            return []
        token = self._answer[place]
        said = token if self._is_right(place) else (token + 1) % self._n_vocab
        return [Guess(said, self.source, self._chance, ())]
