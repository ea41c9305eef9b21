"""Lengths of time as people write them."""

import re
from typing import Final

from edgespec.errors import UsageError

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smh])")
_NONE: Final = re.compile(r"0+(\.0+)?[smh]?")


def parse_duration_s(text: str, setting: str) -> float:
    """Seconds from `90s`, `10m`, `1.5h`, `1h30m`, or a bare number of seconds, as of timeout(1).

    Args:
        text: What was written.
        setting: The field that it was written for.

    Raises:
        UsageError: it is not a length of time above 0.
    """
    written = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", written):
        written += "s"
    parts = _PART.findall(written)
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != written or not 0 < seconds < float("inf"):
        raise UsageError(f"`{setting}` {text!r} is not a length of time", "write it as 90s, 10m or 1h30m")
    return seconds


def parse_keep_alive_s(text: str) -> float | None:
    """Seconds that something idle stays: a length of time, `0` for none, `never` or one below 0 for ever, as ollama has it.

    Args:
        text: What was written.

    Returns:
        None where it is to stay for ever.

    Raises:
        UsageError: it is nothing of these.
    """
    written = text.strip().lower()
    if written == "never":
        return None
    if _NONE.fullmatch(written):
        return 0.0
    try:
        seconds = parse_duration_s(written.removeprefix("-"), "keep_alive")
    except UsageError:
        raise UsageError(
            f"`keep_alive` {text!r} is not a length of time",
            "write it as 90s, 10m or 1h30m, 0 for at once, or never",
        ) from None
    return None if written.startswith("-") else seconds
