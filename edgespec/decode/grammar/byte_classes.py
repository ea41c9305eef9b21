"""Classes of characters as the bytes of UTF-8 that they are written with."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

ByteRange = tuple[int, int]
"""First and last byte."""
_LAST_OF_LENGTH = (0x7F, 0x7FF, 0xFFFF, 0x10FFFF)
_SURROGATES = (0xD800, 0xDFFF)
LAST_CODE_POINT = 0x10FFFF
FIRST_TOKEN = 256
"""Control tokens have no text: in grammars they stand as further bytes, from here on in the order of their ids."""


@dataclass(frozen=True, slots=True, eq=False)
class ByteClass:
    """What one character may be written as: sequences of byte ranges, of which no two can be the beginning of one text."""

    sequences: tuple[tuple[ByteRange, ...], ...]
    steps: dict[int, tuple[bool, "ByteClass | None"]] = field(default_factory=dict)
    """What is known of `step`, by the byte."""

    def step(self, byte: int) -> tuple[bool, "ByteClass | None"]:
        """Whether the character may be whole after that byte, and what else may follow in it."""
        known = self.steps.get(byte)
        if known is None:
            left = tuple(rest[1:] for rest in self.sequences if rest[0][0] <= byte <= rest[0][1])
            longer = tuple(rest for rest in left if rest)
            known = len(longer) < len(left), byte_class(longer) if longer else None
            self.steps[byte] = known
        return known

    def first_bytes(self) -> Iterator[int]:
        """The bytes that it may begin with, some perhaps twice."""
        for sequence in self.sequences:
            low, high = sequence[0]
            yield from range(low, high + 1)


@cache
def byte_class(sequences: tuple[tuple[ByteRange, ...], ...]) -> ByteClass:
    """The class of these sequences, the same object each time."""
    return ByteClass(sequences)


def class_of_token(token: int) -> ByteClass:
    """The class of a control token alone."""
    code = FIRST_TOKEN + token
    return byte_class((((code, code),),))


def class_of_ranges(ranges: Iterable[tuple[int, int]], *, inverted: bool = False) -> ByteClass:
    """The class of all characters in ranges of code points, or of all others.

    Args:
        ranges: First and last of each, in any order; they may overlap.
        inverted: All others.
    """
    merged = merge_ranges(ranges)
    if inverted:
        merged = other_ranges(merged)
    return byte_class(tuple(sequence for low, high in merged for sequence in _sequences(low, high)))


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of code points in order and apart: 1 to 6 for 3 to 6 and 1 to 2. One that ends before it begins is empty."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pair for pair in ranges if pair[0] <= pair[1]):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], high)
        else:
            merged.append((low, high))
    return merged


def other_ranges(merged: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """All other code points, of ranges in order and apart."""
    gaps, start = [], 0
    for low, high in merged:
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= LAST_CODE_POINT:
        gaps.append((start, LAST_CODE_POINT))
    return gaps


def _sequences(low: int, high: int) -> Iterator[tuple[ByteRange, ...]]:
    """Ranges of UTF-8 bytes for a range of code points; surrogates are no characters (RFC 3629)."""
    first, last = _SURROGATES
    if low <= last and high >= first:
        if low < first:
            yield from _sequences(low, first - 1)
        if high > last:
            yield from _sequences(last + 1, high)
        return
    for boundary in _LAST_OF_LENGTH:
        if low <= boundary < high:
            yield from _sequences(low, boundary)
            yield from _sequences(boundary + 1, high)
            return
    for level in range(1, len(chr(low).encode())):
        below = (1 << (6 * level)) - 1
        if low & ~below != high & ~below:
            if low & below:
                yield from _sequences(low, low | below)
                yield from _sequences((low | below) + 1, high)
                return
            if high & below != below:
                yield from _sequences(low, (high & ~below) - 1)
                yield from _sequences(high & ~below, high)
                return
    yield tuple(zip(chr(low).encode(), chr(high).encode(), strict=True))
