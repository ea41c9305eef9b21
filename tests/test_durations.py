"""Lengths of time as people write them."""

import pytest

from edgespec.durations import parse_duration_s, parse_keep_alive_s
from edgespec.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("1h30m", 5400), ("90", 90), (" 2M ", 120)],
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert parse_duration_s(text, "budget") == seconds


@pytest.mark.parametrize("text", ["", "-1m", "0", "m", "1x", "1m 30", "inf", "nan", "1.5.2h"])
def test_what_is_not_a_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"`budget` {text!r} is not a length of time"):
        parse_duration_s(text, "budget")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15m", 900),
        ("90", 90),
        ("0", 0),
        ("0s", 0),
        ("0.0", 0),
        (" Never", None),
        ("-1", None),
        ("-1m", None),
    ],
)
def test_how_long_something_stays_is_read(text: str, seconds: float | None) -> None:
    assert parse_keep_alive_s(text) == seconds


@pytest.mark.parametrize("text", ["", "-", "soon", "--1", "-never", "0x", "always"])
def test_what_is_not_how_long_something_stays_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"`keep_alive` {text!r} is not a length of time"):
        parse_keep_alive_s(text)
