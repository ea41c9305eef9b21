"""The least seconds in which any choice of drafts could have decoded a recorded answer: a bound for every policy.

Dynamic programming over the places of the answer, from its end. A state is a place, what the draft has read and how
many tokens it lacks; a choice is what a round drafts there and who does.
"""

from collections.abc import Callable, Sequence
from functools import cache
from math import inf
from typing import Final

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.drafters.draft_model import WINDOWS
from edgespec.decode.drafters.ngram_index import NgramIndex
from edgespec.decode.engines import shared_prefix
from edgespec.decode.policy import MAX_DRAFT
from edgespec.decode.replay import Guesses, Recording

_MOST_MISSING: Final = WINDOWS[0]
"""Missing tokens from which on more of them cost nothing more: bounds the states, and the seconds from below."""

_Row = list[float]


class Clairvoyant:
    """Knows an answer, every guess at it and every cost beforehand.

    It drafts what the drafters of a replay would say there and nothing else: n-gram matches from any place on, and the
    draft's guesses once it has read the text, each behind the other as often as it pays, `MAX_DRAFT` in a round. The draft
    begins with one of `WINDOWS` or with all of the text, and may read without guessing. No pass is free: each costs what
    `PairCosts` says, or less where more rows cost less.

    Where it is better off than anybody could be, so that no replay beats it: guesses that would not hold need not be
    verified; rows are padded without a limit; a draft reads on in pieces of any size, and what it lacks beyond 24 tokens
    is free. With costs that grow with the rows only the last counts, and hardly.

    Args:
        recording: More than one token.
        guesses: At its places; None without a draft.
    """

    def __init__(self, recording: Recording, guesses: Guesses | None = None) -> None:
        self._n_tokens = len(recording.tokens)
        self._copied = _copied(recording)
        views = guesses.views if guesses else ()
        self._right = [
            [view.at(place)[0] == token for place, token in enumerate(recording.tokens)] for view in views
        ]
        self._beginnings = [
            _beginnings(guesses, len(recording.prompt) + place) if guesses else []
            for place in range(self._n_tokens)
        ]

    def decode_s(self, costs: PairCosts) -> float:
        """Seconds from the first token, which comes with the prompt, to the last.

        Args:
            costs: Of the machine; without those of a draft only n-grams are drafted.
        """
        return _Search(self._copied, self._right, self._beginnings, costs).search()

    def speedup(self, costs: PairCosts) -> float:
        """Over plain steps, as of `Replayed`."""
        return (self._n_tokens - 1) * costs.step_s / self.decode_s(costs)


def _copied(recording: Recording) -> list[list[int]]:
    """How far n-grams alone carry a chain, by the place of the round and the length that the chain has.

    A chain of j right guesses behind place p may grow to any length from j to `[p][j]`. Matches are sought in what was
    there when the round began, as a drafter seeks them.
    """
    tokens = recording.tokens
    index = NgramIndex()
    index.reset([*recording.prompt, *tokens[:1]])
    found: list[list[int]] = [[]]
    for place in range(1, len(tokens)):
        most = min(MAX_DRAFT, len(tokens) - place - 1)
        lengths = list(range(most + 1))
        for length in range(most - 1, -1, -1):
            chain = tokens[place : place + length]
            match = index.find(chain)
            if match:
                rest = tokens[place + length : place + most]
                same = shared_prefix(index.propose(match, len(rest), chain), rest)
                lengths[length] = max(lengths[length : length + same + 1])
        found.append(lengths)
        index.extend(tokens[place : place + 1])
    return found


def _beginnings(guesses: Guesses, n_text: int) -> list[tuple[int, int]]:
    """Rows with which a draft may begin to read a text of that many tokens, and the view that it then has."""
    windows = [*(window for window in WINDOWS if window < n_text), n_text]
    return [(rows, guesses.views.index(guesses.best_view(n_text - rows))) for rows in windows]


class _Search:
    """One pass over an answer from its end, at one machine's costs. All seconds are those from a state to the end."""

    def __init__(
        self,
        copied: Sequence[Sequence[int]],
        right: Sequence[Sequence[bool]],
        beginnings: Sequence[Sequence[tuple[int, int]]],
        costs: PairCosts,
    ) -> None:
        self._copied, self._right, self._beginnings = copied, right, beginnings
        self._n_views = len(right) if costs.draft else 0
        verify_s = _at_least_s(costs.verify)
        self._verify_s = [0.0, *(verify_s(rows + 1) for rows in range(MAX_DRAFT + 1))]
        self._begin_s = _at_least_s(costs.draft or costs.verify)
        self._read_on_s = _in_pieces_s(self._begin_s, _MOST_MISSING + MAX_DRAFT)
        n = len(copied)
        self._unread_s: _Row = [0.0] * (n + 1)
        """By place, where the draft has read nothing."""
        self._by_missing_s: list[list[_Row]] = [[] for _ in range(n)]
        """By place, view and missing tokens."""
        self._by_missing_s.append([[0.0] * (_MOST_MISSING + 1) for _ in range(self._n_views)])

    def search(self) -> float:
        missing = range(1, _MOST_MISSING + 1)
        for place in range(len(self._copied) - 1, 0, -1):
            read_s = [self._in_round(place, view) for view in range(self._n_views)]
            begun_s = self._begin(place, read_s)
            reach = self._copied[place][0]
            unread_s = min(self._verify_s[n + 1] + self._unread_s[place + n + 1] for n in range(reach + 1))
            self._unread_s[place] = min(unread_s, begun_s)
            self._by_missing_s[place] = [
                [begun_s, *(min(begun_s, self._go_on(place, view, n, own)) for n in missing)]
                for view, own in enumerate(read_s)
            ]
        return self._unread_s[1]

    def _in_round(self, place: int, view: int) -> _Row:
        """By the length of the round's chain, all of it right: the draft has just read all of text and chain."""
        copied, right, on_s = self._copied[place], self._right[view], self._read_on_s
        most = len(copied) - 1
        read_s: _Row = [0.0] * (most + 1)
        guessed_s = 0.0
        for length in range(most, -1, -1):
            reach = copied[length]
            best = min(self._stop(place, view, end, end - length) for end in range(length, reach + 1))
            for end in range(length + 1, reach + 1):
                best = min(best, on_s[end - length] + read_s[end])
            if length < most and right[place + length]:
                best = min(best, guessed_s)
            read_s[length] = best
            # Its own last guess is what it has not read.
            guessed_s = min(
                min(self._stop(place, view, end, 1 + end - length), on_s[1 + end - length] + read_s[end])
                for end in range(length, reach + 1)
            )
        return read_s

    def _stop(self, place: int, view: int, length: int, missing: int) -> float:
        """The pass for a chain of that length; the target's own token is missing too."""
        after = place + length + 1
        return self._verify_s[length + 1] + self._by_missing_s[after][view][min(missing + 1, _MOST_MISSING)]

    def _begin(self, place: int, read_s: Sequence[_Row]) -> float:
        """The draft forgets what it holds and reads a window and the n-grams' chain."""
        return min(
            (
                self._begin_s(rows + length) + read_s[view][length]
                for rows, view in self._beginnings[place]
                for length in range(self._copied[place][0] + 1)
            ),
            default=inf,
        )

    def _go_on(self, place: int, view: int, missing: int, read_s: _Row) -> float:
        """The draft keeps what it holds, and reads on behind the n-grams' chain or not at all."""
        return min(
            min(self._stop(place, view, n, missing + n), self._read_on_s[missing + n] + read_s[n])
            for n in range(self._copied[place][0] + 1)
        )


def _at_least_s(curve: CostCurve) -> Callable[[int], float]:
    """Seconds of so many rows or more, whatever costs least; the curve does not fall beyond its last point."""
    points = curve.points

    @cache
    def at_least_s(rows: int) -> float:
        return min([curve.cost(rows), *(seconds for known, seconds in points.items() if known > rows)])

    return at_least_s


def _in_pieces_s(at_least_s: Callable[[int], float], most: int) -> _Row:
    """Seconds by rows, from none to `most`, that are read in one piece or in several, whatever costs least."""
    found = [0.0]
    for rows in range(1, most + 1):
        found.append(min([at_least_s(rows), *(found[n] + found[rows - n] for n in range(1, rows))]))
    return found
