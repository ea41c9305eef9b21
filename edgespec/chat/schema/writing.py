"""GBNF as it is written: literals, classes of characters, and rules with names of their own."""

import json
from collections.abc import Iterable, Mapping
from itertools import groupby

from edgespec.decode.grammar.byte_classes import LAST_CODE_POINT, merge_ranges, other_ranges
from edgespec.errors import UsageError

Ranges = list[tuple[int, int]]
Mark = tuple[str, ...]
"""A text as its characters, and the control tokens in it as `<[151657]>`."""
_MOST_RULES = 20_000
SPECIAL = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x08: "\\b", 0x0C: "\\f"}
"""Characters that JSON writes with a backslash."""
_NEVER_RAW: Ranges = [(0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F)]

_HEX = "[0-9a-fA-F]"
PRIMITIVES = {
    "char": rf'[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" ([0-9a-cefA-CEF] {_HEX}{{3}} | [dD] [0-7] {_HEX}{{2}}))',
    "string": '"\\"" char* "\\""',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "digits": "[0-9]{1,15}",
    "whole": '"0" | [1-9] [0-9]{0,15}',
    "integer": '"-"? whole',
    "number": '"-"? whole ("." digits)? ([eE] [-+]? [0-9]{1,2})?',
    "value": "object | array | string | number | boolean | null",
    "object": '"{" (member (", " member)*)? "}"',
    "member": 'string ": " value',
    "array": '"[" (value (", " value)*)? "]"',
    "date": '"\\"" date-text "\\""',
    "time": '"\\"" time-text "\\""',
    "date-time": '"\\"" date-text "T" time-text "\\""',
    "date-text": '[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | "1" [0-9] | "2" [0-8])',
    "time-text": '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])',
    "uuid": rf'"\"" {_HEX}{{8}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{12}} "\""',
    "ipv4": '"\\"" byte-text "." byte-text "." byte-text "." byte-text "\\""',
    "byte-text": '"25" [0-5] | "2" [0-4] [0-9] | "1" [0-9] [0-9] | [1-9]? [0-9]',
}
"""Rules that are written where they are used. Days end with the 28th, which every month has."""
FORMATS = ("date", "time", "date-time", "uuid", "ipv4")


class Rulebook:
    """The rules of a grammar, as they are written.

    Args:
        prefix: Of the names of its rules.
    """

    def __init__(self, prefix: str = "r") -> None:
        self._prefix = prefix
        self._rules: dict[str, str] = {}
        self._of_body: dict[str, str] = {}

    def add(self, body: str) -> str:
        """The name of a rule of that text; equal ones are one."""
        if body not in self._of_body:
            self._of_body[body] = self.reserve()
            self.fill(self._of_body[body], body)
        return self._of_body[body]

    def reserve(self) -> str:
        """A name for a rule whose text comes later.

        Raises:
            UsageError: there are as many rules as there may be.
        """
        if len(self._rules) >= _MOST_RULES:
            raise UsageError(f"the schema takes more than {_MOST_RULES} rules", "use a smaller one")
        name = f"{self._prefix}{len(self._rules)}"
        self._rules[name] = ""
        return name

    def fill(self, name: str, body: str) -> None:
        """The text of a rule."""
        self._rules[name] = body

    def scan(self, then: Mapping[Mark, str], *, may_end: bool = False) -> str:
        """The name of a rule for any text up to the first of some marks, that mark, and what comes behind it.

        Args:
            then: The marks, none of which is empty or stands in another one, with the names of rules.
            may_end: The text may also end without one.
        """
        beginnings = dict.fromkeys(mark[:length] for mark in then for length in range(len(mark)))
        names = {beginning: self.reserve() for beginning in beginnings}
        symbols = dict.fromkeys(symbol for mark in then for symbol in mark)
        chars = "".join(_in_class(ord(symbol)) for symbol in symbols if len(symbol) == 1)
        others = f"[^{chars}] {names[()]}"
        for beginning, name in names.items():
            parts = [others, *(['""'] if may_end else [])]
            for symbol in symbols:
                text = (*beginning, symbol)
                mark = next((mark for mark in then if text[-len(mark) :] == mark), None)
                if mark is None:
                    place = next(place for place in range(len(text) + 1) if text[place:] in names)
                    parts.append(f"{spell((symbol,))} {names[text[place:]]}")
                else:
                    parts.append(f"{spell((symbol,))} {then[mark]}")
            self.fill(name, " | ".join(parts))
        return names[()]

    def primitive(self, name: str) -> str:
        """The name of one of `PRIMITIVES`, written with all that it needs."""
        if name not in self._rules:
            self._rules[name] = PRIMITIVES[name]
            for word in PRIMITIVES[name].replace("(", " ").replace(")", " ").replace("*", " ").split():
                other = word.rstrip("?")
                if other in PRIMITIVES:
                    self.primitive(other)
        return name

    def text(self, root: str, name: str = "root") -> str:
        """The grammar; `root` is the text of its first rule, which has that name."""
        return "\n".join(f"{rule} ::= {body}" for rule, body in [(name, root), *self._rules.items()]) + "\n"


def literal(text: str) -> str:
    """A text that has to come."""
    return '"' + "".join(_in_literal(char) for char in text) + '"'


def spell(mark: Mark) -> str:
    """A mark that has to come."""
    parts = [
        literal("".join(group)) if is_text else " ".join(group)
        for is_text, group in groupby(mark, lambda symbol: len(symbol) == 1)
    ]
    return " ".join(parts) or '""'


def json_literal(value: object) -> str:
    """A JSON value that has to come, in the form that the other rules write."""
    return literal(json.dumps(value, ensure_ascii=False))


def char_class(ranges: Iterable[tuple[int, int]]) -> str:
    """One of the characters in ranges of code points."""
    parts = [_in_class(low) if low == high else f"{_in_class(low)}-{_in_class(high)}" for low, high in ranges]
    return f"[{''.join(parts)}]"


def json_char_class(ranges: Iterable[tuple[int, int]]) -> str:
    """One of the characters in ranges of code points, as it is written inside of a JSON string."""
    wanted = merge_ranges(ranges)
    raw = intersect(wanted, other_ranges(_NEVER_RAW))
    single = len(raw) == 1 and raw[0][0] == raw[0][1]
    found = [literal(chr(raw[0][0])) if single else char_class(raw)] if raw else []
    found += [
        literal(text) for code, text in SPECIAL.items() if any(low <= code <= high for low, high in wanted)
    ]
    return found[0] if len(found) == 1 else f"({' | '.join(found)})" if found else "[]"


def intersect(left: Ranges, right: Ranges) -> Ranges:
    """The code points of both, each in order and apart."""
    return other_ranges(merge_ranges([*other_ranges(left), *other_ranges(right)]))


def _in_literal(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08X}"


def _in_class(code: int) -> str:
    char = chr(min(code, LAST_CODE_POINT))
    return char if char.isascii() and char.isalnum() else f"\\U{code:08X}"
