"""Drafting from the text itself: the longest earlier match of the last tokens, the most recent one on a tie.

Prompt lookup decoding (Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding) with two changes: matches
are ranked by their length, and a copy may run past the end of the history into its own proposal, as in LZ77, so that a
repeated pattern is followed at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

MIN_MATCH = 2
"""Tokens. Shorter matches are accepted too rarely to pay for a second row."""
MAX_MATCH = 48
"""Tokens. Longer matches say nothing more about acceptance: the last bucket of `acceptance` begins at 40."""
MAX_CANDIDATES = 24
"""Earlier places looked at; bounds the work of a step whatever the context's length."""


@dataclass(frozen=True, slots=True)
class NgramMatch:
    """Where the last tokens stood before.

    `start` is the index of the token that followed; `length` is how many tokens before it match;
    `agreed` says whether every other match of at least half that length was followed by the same token.
    """

    start: int
    length: int
    agreed: bool


@dataclass(slots=True)
class NgramIndex:
    """An index of the last two tokens over a growing history.

    In the history 7, 8, 9, 4, 7, 8 the pair (7, 8) stood before, and token 2 followed it: `find` gives
    `NgramMatch(start=2, length=2, agreed=True)`, and `propose` of three tokens 9, 4, 7.
    """

    history: list[int] = field(default_factory=list)
    _places: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    """A pair of tokens -> the indices of what followed it, in order."""

    def reset(self, tokens: Sequence[int]) -> None:
        """Starts over with `tokens`."""
        self.history = []
        self._places = {}
        self.extend(tokens)

    def extend(self, tokens: Sequence[int]) -> None:
        """Adds tokens at the end."""
        history, places = self.history, self._places
        for token in tokens:
            history.append(token)
            # The place of a pair is the index after it; the newest pair has nothing after it yet.
            if len(history) > MIN_MATCH:
                places.setdefault((history[-3], history[-2]), []).append(len(history) - 1)

    def find(self, chain: Sequence[int] = ()) -> NgramMatch | None:
        """The best earlier match of the end of the history and a chain behind it.

        Returns:
            None where the last two tokens never stood side by side in the history.
        """
        if len(self.history) + len(chain) <= MIN_MATCH:
            return None
        end = chain[-MIN_MATCH:] if len(chain) >= MIN_MATCH else [*self.history[-MIN_MATCH:], *chain]
        candidates = self._places.get((end[-2], end[-1]))
        if not candidates:
            return None
        text = self._with(chain)
        scored = [(_match_length(text, place), place) for place in candidates[: -MAX_CANDIDATES - 1 : -1]]
        length, start = max(scored, key=lambda pair: pair[0])  # the first of equals is the most recent
        followed_by = text[start]
        agreed = all(text[place] == followed_by for other, place in scored if 2 * other >= length)
        return NgramMatch(start, length, agreed)

    def propose(self, match: NgramMatch, count: int, chain: Sequence[int] = ()) -> list[int]:
        """The `count` tokens that follow a match of the history and a chain, read on into the proposal itself at the end.

        After 1, 2, 3, 1, 2, 3, 1, 2 the longest match is five tokens long and was followed by index 5, token 3; from there
        the history holds 3, 1, 2, so that seven proposed tokens are 3, 1, 2, 3, 1, 2, 3.
        """
        text = self._with(chain)
        period = len(text) - match.start
        return [text[match.start + (offset % period)] for offset in range(count)]

    def _with(self, chain: Sequence[int]) -> list[int]:
        return [*self.history, *chain] if chain else self.history


def _match_length(text: Sequence[int], place: int) -> int:
    length = MIN_MATCH
    left, right = place - MIN_MATCH - 1, len(text) - MIN_MATCH - 1
    while left >= 0 and length < MAX_MATCH and text[left] == text[right]:
        length += 1
        left -= 1
        right -= 1
    return length
