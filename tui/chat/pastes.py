"""Long pastes, each shown as one mark: what stands for what, and where marks are in a line."""

import re
from typing import Final

from edgespec.text import human_bytes

_MOST_LINES: Final = 8
"""As many as the prompt has room for."""
_MOST_CHARACTERS: Final = 1500
_MARK: Final = re.compile(r"\[pasted [^\[\]\n]+\]")


class Pastes:
    """The texts behind marks such as `[pasted 300 lines, 12.0 KiB]`."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def collapse(self, text: str) -> str:
        """A mark for a text that is long; the text where it is not."""
        if text.count("\n") < _MOST_LINES and len(text) <= _MOST_CHARACTERS:
            return text
        size = human_bytes(len(text.encode("utf-8", "replace")))
        lines = text.removesuffix("\n").count("\n") + 1
        what = f"pasted {lines} lines, {size}" if lines > 1 else f"pasted {size}"
        mark, number = f"[{what}]", 2
        while self._texts.get(mark, text) != text:
            mark, number = f"[{what}, {number}]", number + 1
        self._texts[mark] = text
        return mark

    def expand(self, text: str) -> str:
        """With what the marks stand for in their place."""
        return _MARK.sub(lambda found: self._texts.get(found[0], found[0]), text)

    def shorten(self, text: str) -> str:
        """With marks in the place of what they stand for."""
        for mark, pasted in self._texts.items():
            text = text.replace(pasted, mark)
        return text

    def text_of(self, mark: str) -> str:
        """What a mark stands for."""
        return self._texts[mark]

    def spans(self, line: str) -> list[tuple[int, int]]:
        """Where marks are in a line: the columns that they begin at and that follow them."""
        return [found.span() for found in _MARK.finditer(line) if found[0] in self._texts]
