"""The key-value section of a GGUF file's header.

Arrays (150 thousand tokens, as many merges and scores) are only walked when the header is read, and decoded when somebody
asks for them.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_U64 = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class PackedStrings:
    """Where a string array lies in a file: length in 8 bytes, the text, length, text, ..."""

    path: Path
    start: int
    end: int
    count: int

    def unpack(self) -> list[bytes]:
        """The strings, read from the file; the bytes `02 00 00 00 00 00 00 00 68 69` are one, `b"hi"`."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            packed = file.read(self.end - self.start)
        out: list[bytes] = []
        position, length_at = 0, _U64.unpack_from
        for _ in range(self.count):
            start = position + 8
            position = start + length_at(packed, position)[0]
            out.append(packed[start:position])
        return out


@dataclass(frozen=True, slots=True)
class PackedNumbers:
    """Where an array of numbers lies in a file. As Python's own numbers it takes 8 bytes an item, and 24 more for many."""

    path: Path
    start: int
    letter: str
    """Of the `struct` module, for one item."""
    count: int

    def unpack(self) -> list[object]:
        """The numbers, read from the file; the bytes `01 02` are `[1, 2]` with the letter `B`."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            packed = file.read(self.count * struct.calcsize(f"<{self.letter}"))
        return [value for (value,) in struct.iter_unpack(f"<{self.letter}", packed)]


@dataclass(frozen=True, slots=True)
class FieldSpan:
    """Where one field's type and value lie in the file, so that they can be copied byte for byte."""

    start: int
    """Of the value type's id; the key lies before it."""
    end: int
    value_type: int
    item_type: int | None
    """Type of an array's items; None for what is not an array."""


class Fields(Mapping[str, object]):
    """The key-value section: scalars, str and lists. Arrays are decoded on access and then kept."""

    __slots__ = ("_numbers", "_strings", "_values", "spans")

    def __init__(self, values: dict[str, object], spans: dict[str, FieldSpan]) -> None:
        self._values = values
        self.spans: Mapping[str, FieldSpan] = spans
        self._strings: dict[str, list[bytes]] = {}
        self._numbers: dict[str, object] = {}

    def __getitem__(self, key: str) -> object:
        value = self._values[key]
        if isinstance(value, PackedStrings):
            return [text.decode("utf-8", "replace") for text in self.raw_strings(key)]
        if isinstance(value, PackedNumbers | list):
            if key not in self._numbers:
                self._numbers[key] = _unpacked(value)
            return self._numbers[key]
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Fields({len(self)} keys)"

    def array_length(self, key: str) -> int:
        """Length of an array without decoding it; 0 when the key is absent or not an array."""
        value = self._values.get(key)
        if isinstance(value, PackedStrings | PackedNumbers):
            return value.count
        return len(value) if isinstance(value, list) else 0

    def raw_strings(self, key: str) -> list[bytes]:
        """A string array as bytes, exactly as stored; empty when the key is absent or not a string array.

        Raises:
            OSError: the file cannot be read again.
        """
        if key not in self._strings:
            value = self._values.get(key)
            self._strings[key] = value.unpack() if isinstance(value, PackedStrings) else []
        return self._strings[key]


def _unpacked(value: object) -> object:
    """A value without anything packed, in arrays of arrays too."""
    if isinstance(value, list):
        return [_unpacked(one) for one in value]
    if isinstance(value, PackedStrings):
        return [text.decode("utf-8", "replace") for text in value.unpack()]
    return value.unpack() if isinstance(value, PackedNumbers) else value
