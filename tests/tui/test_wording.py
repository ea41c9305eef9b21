"""Words that several screens share."""

import time

import pytest

from edgespec.worker.protocol import Progressed
from tui.common.wording import local_time, progress_line

MIB = 1 << 20


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Progressed("loading tiny", 0, None), "loading tiny"),
        (Progressed("loading tiny", 0.25, 1), "loading tiny · 25%"),
        (Progressed("reading windows", 3, 8), "reading windows · 3 of 8"),
        (Progressed("measuring tiny", 0.6, 2.0, "seconds"), "measuring tiny · 30%"),
        (Progressed("fetching tiny", 2 * MIB, 8 * MIB, "bytes"), "fetching tiny · 2.0 MiB of 8.0 MiB"),
        (Progressed("fetching tiny", 2 * MIB, None, "bytes"), "fetching tiny · 2.0 MiB"),
        (Progressed("looking for the models", 0, None, "bytes"), "looking for the models"),
    ],
)
def test_progress_is_one_line_also_where_nobody_knows_how_much_there_is(event: Progressed, said: str) -> None:
    assert progress_line(event) == said


def test_the_time_that_is_left_stands_at_the_end() -> None:
    assert progress_line(Progressed("reading", 3, 8), 65) == "reading · 3 of 8 · about 1 min 5 s left"


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2026-01-31T23:30:00+00:00", "2026-02-01 01:30"),
        ("2026-07-31T23:30:00Z", "2026-08-01 01:30"),
        ("2026-01-31T23:30:00", "2026-02-01 01:30"),
        ("yesterday", ""),
        ("", ""),
    ],
)
@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the system has no tzset")
def test_moments_are_shown_by_this_machines_clock(
    moment: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "XST-2")
    time.tzset()
    assert local_time(moment) == said
