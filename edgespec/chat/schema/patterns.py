"""Regular expressions of JSON schemas as grammars of the JSON strings that they match."""

from dataclasses import dataclass
from typing import Final, NoReturn

from edgespec.chat.schema.writing import Ranges, json_char_class
from edgespec.decode.grammar.byte_classes import LAST_CODE_POINT, merge_ranges, other_ranges
from edgespec.errors import UsageError

_DIGITS: Final[Ranges] = [(0x30, 0x39)]
_WORDS: Final[Ranges] = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_SPACES: Final[Ranges] = [(0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x2028, 0x2029)]
"""What every notation of regular expressions takes for white space; and what some of them do."""
_PERHAPS_SPACES: Final[Ranges] = [
    *((0x09, 0x0D), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
]
_LINE_ENDS: Final[Ranges] = [(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)]
_SETS: Final = {
    "d": _DIGITS,
    "w": _WORDS,
    "s": _SPACES,
    "D": other_ranges(_DIGITS),
    "W": other_ranges(_WORDS),
    "S": other_ranges(_PERHAPS_SPACES),
}
_CONTROLS: Final = {"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C, "v": 0x0B, "0": 0x00}
_HEX: Final = {"x": 2, "u": 4}
_DEEPEST: Final = 30
_ANY: Final = "char*"


def pattern_rule(pattern: str) -> str:
    """The text of a rule for the JSON strings in which a pattern is found; it may use the primitive `char`.

    Raises:
        UsageError: what the pattern says that a grammar cannot say.
    """
    return _Pattern(pattern).read()


@dataclass(slots=True)
class _Pattern:
    text: str
    place: int = 0

    def read(self) -> str:
        body = self._alternatives(0)
        if self.place < len(self.text):
            self._fail(f"{self.text[self.place]!r} at {self.place}")
        return f'"\\"" ({body}) "\\""'

    def _alternatives(self, depth: int) -> str:
        if depth > _DEEPEST:
            self._fail("so many groups inside of one another")
        found = [self._sequence(depth)]
        while self._peek() == "|":
            self.place += 1
            found.append(self._sequence(depth))
        return " | ".join(found)

    def _sequence(self, depth: int) -> str:
        """One alternative. Of the whole pattern, what is not anchored may stand anywhere."""
        is_open_before = is_open_behind = depth == 0
        items: list[str] = []
        if depth == 0 and self._peek() == "^":
            is_open_before = False
            self.place += 1
        while self._peek() not in ("", "|", ")"):
            if self._peek() == "$" and depth == 0 and self.text[self.place + 1 : self.place + 2] in ("", "|"):
                is_open_behind = False
                self.place += 1
                break
            items.append(self._quantified(self._item(depth)))
        whole = [_ANY] * is_open_before + items + [_ANY] * is_open_behind
        return " ".join(whole) if whole else '""'

    def _item(self, depth: int) -> str:
        char = self.text[self.place]
        if char == "(":
            return self._group(depth)
        if char == "[":
            return json_char_class(self._class())
        if char in "^$":
            self._fail(f"{char} inside of it")
        if char in "*+?{":
            self._fail(f"{char} with nothing before it")
        self.place += 1
        if char == ".":
            return json_char_class(other_ranges(_LINE_ENDS))
        return json_char_class(self._escape(in_class=False) if char == "\\" else [(ord(char), ord(char))])

    def _group(self, depth: int) -> str:
        self.place += 1
        if self._peek() == "?":
            if self.text.startswith("?:", self.place):
                self.place += 2
            elif (
                self.text.startswith("?<", self.place)
                and self.text[self.place + 2 : self.place + 3] not in "=!"
            ):
                self.place = self.text.find(">", self.place) + 1 or len(self.text)
            else:
                self._fail("what looks ahead or behind")
        body = self._alternatives(depth + 1)
        if self._peek() != ")":
            self._fail("a group that is not closed")
        self.place += 1
        return f"({body})"

    def _quantified(self, item: str) -> str:
        while self._peek() and self._peek() in "*+?{":
            if self._peek() == "{":
                end = self.text.find("}", self.place) + 1
                times = self.text[self.place : end]
                numbers = times[1:-1].split(",")
                if (
                    not end
                    or not numbers[0].isdecimal()
                    or len(numbers) > 2
                    or not (numbers[-1] or "0").isdecimal()
                ):
                    self._fail(f"a repetition {times or '{'}")
                self.place = end
            else:
                times = self.text[self.place]
                self.place += 1
            if self._peek() == "?":  # as few as possible: the same texts
                self.place += 1
            item = f"({item}){times}"
        return item

    def _class(self) -> Ranges:
        self.place += 1
        inverted = self._peek() == "^"
        self.place += inverted
        found: Ranges = []
        while self._peek() != "]":
            low = self._member()
            if self._peek() == "-" and self.text[self.place + 1 : self.place + 2] not in ("]", ""):
                self.place += 1
                high = self._member()
                if len(low) != 1 or len(high) != 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1]:
                    self._fail("a range between sets")
                low = [(low[0][0], high[0][0])]
            found += low
        self.place += 1
        merged = merge_ranges(found)
        return other_ranges(merged) if inverted else merged

    def _member(self) -> Ranges:
        char = self._peek()
        if not char:
            self._fail("a class that is not closed")
        self.place += 1
        return self._escape(in_class=True) if char == "\\" else [(ord(char), ord(char))]

    def _escape(self, *, in_class: bool) -> Ranges:
        char = self._peek()
        self.place += 1
        if char in _SETS:
            return list(_SETS[char])
        if char in _CONTROLS:
            return [(_CONTROLS[char], _CONTROLS[char])]
        if in_class and char == "b":
            return [(0x08, 0x08)]
        if char in _HEX:
            digits = self.text[self.place : self.place + _HEX[char]]
            try:
                code = min(int(digits, 16), LAST_CODE_POINT)
            except ValueError:
                self._fail(f"\\{char}{digits}")
            self.place += len(digits)
            return [(code, code)]
        if not char or char.isalnum():
            self._fail(f"\\{char}")
        return [(ord(char), ord(char))]

    def _peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def _fail(self, what: str) -> NoReturn:
        raise UsageError(
            f'"pattern" {self.text!r} of the schema cannot become a grammar: it has {what}',
            "use literals, classes, groups and repetitions",
        )
