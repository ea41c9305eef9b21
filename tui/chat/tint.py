"""Who thought of each character of an answer, found again where the answer is shown as rendered Markdown."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from textual.content import Content

from edgespec.decode.token import DraftSource
from edgespec.text import plain_text
from edgespec.worker.protocol import Piece

STYLES: Final = {
    DraftSource.MODEL: "$text-success on $success-muted",
    DraftSource.NGRAM: "$text-accent on $accent-muted",
    DraftSource.GRAMMAR: "$text-primary on $primary-muted",
}


class Tint:
    """Leads from rendered text to its sources: letters and digits are shown all, in order; what is between them is looked for.

    Args:
        pieces: The answer.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        written = [(plain_text(piece.text), piece.source) for piece in pieces]
        self._text = "".join(text for text, _ in written)
        self._sources = [source for _, source in written]
        self._ends = list(accumulate(len(text) for text, _ in written))
        self._letters = [place for place, char in enumerate(self._text) if char.isalnum()]

    def letters_before(self, line: int) -> int:
        """Letters and digits in the lines before one, which is counted from 0."""
        head = self._text.splitlines(keepends=True)[:line]
        return bisect_right(self._letters, sum(map(len, head)) - 1)

    def paint(self, content: Content, first: int) -> Content:
        """Rendered text in colours.

        Args:
            content: Of one block.
            first: Letters and digits of the answer before it.
        """
        for start, end, source in self._runs(content.plain, first):
            if source in STYLES:
                content = content.stylize(STYLES[source], start, end)
        return content

    def _runs(self, shown: str, first: int) -> Iterator[tuple[int, int, DraftSource]]:
        begun, before = 0, DraftSource.TARGET
        for place, source in enumerate(self._sources_of(shown, first)):
            if source is not before:
                yield begun, place, before
                begun, before = place, source
        yield begun, len(shown), before

    def _sources_of(self, shown: str, first: int) -> Iterator[DraftSource]:
        """Of each character that is shown."""
        letter = first
        at = self._letters[first - 1] if 0 < first <= len(self._letters) else -1
        source = DraftSource.TARGET
        for char in shown:
            limit = self._letters[letter] if letter < len(self._letters) else len(self._text)
            if char.isalnum():
                at, letter = limit, letter + 1
            else:
                found = self._text.find(char, at + 1, limit)
                at = found if found >= 0 else at
            source = self._source_at(at) if 0 <= at < len(self._text) else source
            yield source

    def _source_at(self, place: int) -> DraftSource:
        return self._sources[bisect_right(self._ends, place)]


def last_pieces(pieces: Sequence[Piece], length: int) -> list[Piece]:
    """The pieces of the last characters, as they are shown.

    Args:
        pieces: Of a text.
        length: So many characters at its end.
    """
    found: list[Piece] = []
    for piece in reversed(pieces):
        if length <= 0:
            break
        text = plain_text(piece.text)[-length:]
        found.append(Piece(text, piece.source))
        length -= len(text)
    return found[::-1]
