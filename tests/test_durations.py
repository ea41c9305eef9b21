"""Lengths of time as people write them."""

import pytest

from edgespec.durations import parse_duration_s
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
