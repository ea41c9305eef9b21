"""Reads llama.cpp's notation of grammars, GBNF (grammars/README.md there), within bounds of our own.

llama.cpp's parser writes its errors to stderr, goes as deep as a text is nested, and its sampler ends the process where a
token does not fit; what a stranger sends is read here.
"""

import re
from dataclasses import dataclass, field
from typing import Final, NoReturn

from edgespec.decode.grammar.byte_classes import LAST_CODE_POINT, ByteClass, class_of_ranges, class_of_token
from edgespec.decode.grammar.rules import MOST_SYMBOLS, Alternative, Rules, Symbol, make_rules
from edgespec.errors import UsageError

ROOT: Final = "root"
LONGEST_GRAMMAR: Final = 1 << 19
"""Characters, which take half a second, and nobody else is answered meanwhile; a schema of 5000 properties has as many."""
_DEEPEST: Final = 100
"""Groups inside of one another."""
_MOST_REPEATED: Final = 10_000
"""Times that something is repeated; llama.cpp has 2000, and takes what is more for no limit."""
_BLANK: Final = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_BLANK_LINES: Final = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
_TIMES: Final = re.compile(r"\{\s*(\d{1,9})\s*(,?)\s*(\d{0,9})\s*\}")
_TOKEN: Final = re.compile(r"<\[(\d{1,9})\]>")
_HEX: Final = {"x": 2, "u": 4, "U": 8}
_ESCAPED: Final = {"t": "\t", "r": "\r", "n": "\n"}
_THEMSELVES: Final = '\\"[]-'


def read_gbnf(text: str, root: str = ROOT, *, takes_tokens: bool = False) -> Rules:
    """The rules of a grammar.

    Args:
        text: In llama.cpp's notation.
        root: The rule of the whole text.
        takes_tokens: Control tokens may stand in it, as `<[151657]>`.

    Raises:
        UsageError: what is wrong with it, and on which line.
    """
    if len(text) > LONGEST_GRAMMAR:
        raise UsageError(
            f"the grammar has {len(text)} characters, and {LONGEST_GRAMMAR} are read", "use a shorter one"
        )
    return _Reader(text, takes_tokens).read(root)


@dataclass(slots=True)
class _Reader:
    text: str
    takes_tokens: bool
    place: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)
    _names: list[str] = field(default_factory=list)
    _alternatives: list[list[Alternative] | None] = field(default_factory=list)
    _symbol_n: int = 0

    def read(self, root: str) -> Rules:
        self._skip(_BLANK_LINES)
        while self.place < len(self.text):
            name = self._name()
            self._skip(_BLANK)
            self._expect("::=")
            self._skip(_BLANK_LINES)
            alternatives = self._read_alternatives(name, 0)
            self._skip(_BLANK)
            if self.place < len(self.text) and self.text[self.place] not in "\r\n":
                self._fail(f"{self.text[self.place]!r} is not expected")
            self._alternatives[self._number(name)] = alternatives
            self._skip(_BLANK_LINES)
        if root not in self._numbers:
            raise UsageError(f"the grammar has no rule {root}", f"name the rule of the whole text {root}")
        defined: list[list[Alternative]] = []
        for name, found in zip(self._names, self._alternatives, strict=True):
            if found is None:
                raise UsageError(f"the grammar has no rule {name}", "define every rule that is used")
            defined.append(found)
        return make_rules(self._names, defined, self._numbers[root])

    def _read_alternatives(self, name: str, depth: int) -> list[Alternative]:
        if depth > _DEEPEST:
            self._fail(f"it is nested deeper than {_DEEPEST} groups")
        blank = _BLANK_LINES if depth else _BLANK
        found = [self._read_sequence(name, depth)]
        while self._peek() == "|":
            self.place += 1
            self._skip(_BLANK_LINES)
            found.append(self._read_sequence(name, depth))
            self._skip(blank)
        return found

    def _read_sequence(self, name: str, depth: int) -> Alternative:
        blank = _BLANK_LINES if depth else _BLANK
        symbols: list[Symbol] = []
        while (item := self._read_item(name, depth)) is not None:
            self._skip(blank)
            while self._peek() and self._peek() in "*+?{":
                item = self._repeat(name, item)
                self._skip(blank)
            symbols += item
            self._count(len(item))
        return tuple(symbols)

    def _read_item(self, name: str, depth: int) -> list[Symbol] | None:
        """A literal, a class, a group or the name of a rule; None at the end of a sequence."""
        char = self._peek()
        if char == '"':
            return self._literal()
        if char == "[":
            return [self._class()]
        if char == "(":
            self.place += 1
            self._skip(_BLANK_LINES)
            alternatives = self._read_alternatives(name, depth + 1)
            self._expect(")")
            return [self._add(name, alternatives)]
        if char == ".":
            self.place += 1
            return [class_of_ranges((), inverted=True)]
        if self.takes_tokens and (found := _TOKEN.match(self.text, self.place)):
            self.place = found.end()
            return [class_of_token(int(found[1]))]
        if char and char in "<!":
            self._fail("tokens in angle brackets are not supported")
        if _NAME.match(self.text, self.place):
            return [self._number(self._name())]
        if char and char in "*+?{":
            self._fail(f"nothing stands before {char}")
        return None

    def _repeat(self, name: str, item: list[Symbol]) -> list[Symbol]:
        least, most = self._times()
        if not item:
            return []
        symbol = item[0] if len(item) == 1 else self._add(name, [tuple(item)])
        self._count(least)
        repeated: list[Symbol] = [symbol] * least
        if most is None:
            again = self._add(name, [])
            self._alternatives[again] = [(symbol, again), ()]
            return [*repeated, again]
        more: int | None = None
        for _ in range(most - least):
            self._count(2)
            more = self._add(name, [(symbol,) if more is None else (symbol, more), ()])
        return repeated if more is None else [*repeated, more]

    def _times(self) -> tuple[int, int | None]:
        char = self.text[self.place]
        if char != "{":
            self.place += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        found = _TIMES.match(self.text, self.place)
        if not found:
            self._fail("a repetition is {2}, {2,} or {2,4}")
        least = int(found[1])
        most = least if not found[2] else int(found[3]) if found[3] else None
        if least > _MOST_REPEATED or (most or 0) > _MOST_REPEATED:
            self._fail(f"{found[0]} repeats more than {_MOST_REPEATED} times")
        if most is not None and most < least:
            self._fail(f"{found[0]} ends before it begins")
        self.place = found.end()
        return least, most

    def _literal(self) -> list[Symbol]:
        self.place += 1
        symbols: list[Symbol] = []
        while self._peek() != '"':
            code = self._char()
            symbols.append(class_of_ranges([(code, code)]))
        self.place += 1
        return symbols

    def _class(self) -> ByteClass:
        self.place += 1
        inverted = self._peek() == "^"
        self.place += inverted
        ranges: list[tuple[int, int]] = []
        while self._peek() != "]":
            low = high = self._char()
            if self._peek() == "-" and self.text[self.place + 1 : self.place + 2] != "]":
                self.place += 1
                high = self._char()
            ranges.append((low, high))
        self.place += 1
        return class_of_ranges(ranges, inverted=inverted)

    def _char(self) -> int:
        char = self._peek()
        if not char or char in "\r\n":
            self._fail("a literal or a class is not closed")
        self.place += 1
        if char != "\\":
            return ord(char)
        escape = self._peek()
        self.place += 1
        if escape and escape in _THEMSELVES:
            return ord(escape)
        if escape in _ESCAPED:
            return ord(_ESCAPED[escape])
        if escape not in _HEX:
            self._fail(f"\\{escape} is no escape")
        digits = self.text[self.place : self.place + _HEX[escape]]
        if not re.fullmatch(rf"[0-9A-Fa-f]{{{_HEX[escape]}}}", digits):
            self._fail(f"\\{escape} wants {_HEX[escape]} hexadecimal digits")
        self.place += len(digits)
        return min(int(digits, 16), LAST_CODE_POINT)

    def _add(self, name: str, alternatives: list[Alternative]) -> int:
        """A rule without a name of its own."""
        self._names.append(name)
        self._alternatives.append(alternatives)
        return len(self._names) - 1

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
            self._alternatives.append(None)
        return self._numbers[name]

    def _count(self, symbols: int) -> None:
        self._symbol_n += symbols
        if self._symbol_n > MOST_SYMBOLS:
            raise UsageError(
                f"the grammar has more than {MOST_SYMBOLS} symbols with its repetitions written out",
                "repeat less, or use * instead of a number",
            )

    def _name(self) -> str:
        found = _NAME.match(self.text, self.place)
        if not found:
            self._fail("the name of a rule is expected")
        self.place = found.end()
        return found[0]

    def _expect(self, wanted: str) -> None:
        if not self.text.startswith(wanted, self.place):
            self._fail(f"{wanted} is expected")
        self.place += len(wanted)

    def _peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def _skip(self, blank: re.Pattern[str]) -> None:
        found = blank.match(self.text, self.place)
        self.place = found.end() if found else self.place

    def _fail(self, what: str) -> NoReturn:
        line = self.text.count("\n", 0, self.place) + 1
        raise UsageError(f"line {line} of the grammar: {what}", "see llama.cpp's grammars/README.md")
