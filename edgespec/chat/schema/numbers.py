"""Whole numbers and decimals between bounds, as grammars."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_MOST_DECIMALS: Final = 15


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a number has to lie between; None for no bound."""

    low: float | None = None
    high: float | None = None
    low_excluded: bool = False
    high_excluded: bool = False

    @property
    def least_whole(self) -> int | None:
        """The least whole number between them."""
        if self.low is None:
            return None
        least = math.ceil(self.low)
        return least + 1 if self.low_excluded and least == self.low else least

    @property
    def most_whole(self) -> int | None:
        """The largest one."""
        if self.high is None:
            return None
        most = math.floor(self.high)
        return most - 1 if self.high_excluded and most == self.high else most


def whole_numbers(least: int | None, most: int | None) -> str:
    """Whole numbers from `least` to `most`; an empty text where there are none."""
    if least is not None and most is not None and least > most:
        return ""
    parts: list[str] = []
    if least is None or least < 0:
        # -7 to -3 are the minus signs before 3 to 7.
        parts += [
            f'"-" ({part})'
            for part in [
                _natural(max(1, -most) if most is not None else 1, None if least is None else -least)
            ]
            if part
        ]
    if most is None or most >= 0:
        parts.append(_natural(max(0, least or 0), most))
    return " | ".join(part for part in parts if part)


def decimals(bounds: Bounds) -> str:
    """Numbers between bounds, in decimal notation; an empty text where there are none.

    Between 0.5 and 3 they are 1 to 3 with what lies between them, and 0.500 to 3.000: some are left out, and none is wrong.
    """
    least, most = bounds.least_whole, bounds.most_whole
    whole = whole_numbers(least, most)
    parts = [whole] if whole else []
    parts += _fixed(bounds)
    low, high = _edge(bounds.low, least), _edge(bounds.high, most)
    # Fractions lie behind a whole number, away from zero.
    if low is None or low < 0:
        first = max(0, -high) if high is not None else 0
        body = _natural(first, None if low is None else -low - 1)
        if body:
            parts.append(f'"-" ({body}) "." [0-9]{{0,14}} [1-9]')
    if high is None or high > 0:
        body = _natural(max(0, low or 0), None if high is None else high - 1)
        if body:
            parts.append(f'({body}) "." [0-9]{{0,14}} [1-9]')
    return " | ".join(parts)


def _fixed(bounds: Bounds) -> list[str]:
    """Numbers with as many decimals as the bounds have, and two more, if one of them is no whole number."""
    given = [Decimal(str(bound)) for bound in (bounds.low, bounds.high) if bound is not None]
    exponents = [-exponent for one in given if isinstance(exponent := one.as_tuple().exponent, int)]
    if all(one == one.to_integral_value() for one in given) or max(exponents) + 2 > _MOST_DECIMALS:
        return []
    decimals_n = max(exponents) + 2
    unit = Decimal(10) ** decimals_n

    def scaled(bound: float | None, excluded: bool, way: int) -> int:
        if bound is None:
            return -way * int("9" * (decimals_n + 15))
        return int(Decimal(str(bound)) * unit) + way * excluded

    least, most = scaled(bounds.low, bounds.low_excluded, 1), scaled(bounds.high, bounds.high_excluded, -1)
    below = _natural(max(1, -most), -least, decimals_n)
    above = _natural(max(0, least), most, decimals_n)
    return [part for part in (f'"-" ({below})' if below else "", above) if part]


def _edge(bound: float | None, whole: int | None) -> int | None:
    """The whole number that fractions end at: the bound itself where it is one, excluded or not."""
    return whole if bound is None or bound != math.floor(bound) else int(bound)


def _natural(least: int, most: int | None, decimals_n: int = 0) -> str:
    """Natural numbers from `least` to `most`, or to any; the last `decimals_n` of their digits behind a point."""
    if most is None:
        digits = len(str(least))
        rest = f"[1-9] [0-9]{{{digits},{max(digits, 15)}}}"
        return f"{_natural(least, 10**digits - 1)} | {rest}"
    if least > most:
        return ""
    parts = []
    shortest = decimals_n + 1
    for digits in range(max(shortest, len(str(least))), max(shortest, len(str(most))) + 1):
        low, high = max(least, 10 ** (digits - 1) if digits > shortest else 0), min(most, 10**digits - 1)
        parts.append(_same_length(str(low).zfill(digits), str(high).zfill(digits), decimals_n))
    return " | ".join(parts)


def _same_length(low: str, high: str, decimals_n: int) -> str:
    """Numbers of as many digits from one to the other: 13 to 42 are 1 [3-9], [2-3] [0-9], 4 [0-2]."""
    if low == "0" * len(low) and high == "9" * len(high):
        return _any_digits(len(low), decimals_n)
    rest = len(low) - 1
    point = '"." ' if decimals_n and rest == decimals_n else ""
    if low[0] == high[0]:
        return f'"{low[0]}" {point}({_same_length(low[1:], high[1:], decimals_n)})' if rest else f'"{low}"'
    if not rest:
        return f"[{low}-{high}]"
    parts, first, last = [], int(low[0]), int(high[0])
    if low[1:] != "0" * rest:
        parts.append(f'"{first}" {point}({_same_length(low[1:], "9" * rest, decimals_n)})')
        first += 1
    if high[1:] != "9" * rest:
        last -= 1
    if first <= last:
        parts.append(f"[{first}-{last}] {point}{_any_digits(rest, decimals_n)}")
    if last < int(high[0]):
        parts.append(f'"{high[0]}" {point}({_same_length("0" * rest, high[1:], decimals_n)})')
    return " | ".join(parts)


def _any_digits(count: int, decimals_n: int) -> str:
    before = count - decimals_n
    if decimals_n and before > 0:
        return f'[0-9]{{{before}}} "." [0-9]{{{decimals_n}}}'
    return f"[0-9]{{{count}}}"
