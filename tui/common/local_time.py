"""Moments as people say them, in the time of this machine."""

from datetime import datetime
from typing import Final

_WEEK: Final = 7


def local_time(stamp: str, now: datetime | None = None) -> str:
    """`today 14:03`, `yesterday 09:12`, `Mon 18:40` within a week, else the date.

    Args:
        stamp: In ISO 8601, with its zone; anything else comes back as it is.
        now: In whatever zone; None for the present.
    """
    try:
        moment = datetime.fromisoformat(stamp).astimezone()
    except (ValueError, OverflowError, OSError):
        return stamp
    today = (now or datetime.now().astimezone()).astimezone().date()
    days = (today - moment.date()).days
    clock = f"{moment:%H:%M}"
    if days == 0:
        return f"today {clock}"
    if days == 1:
        return f"yesterday {clock}"
    if 0 < days < _WEEK:
        return f"{moment:%a} {clock}"
    date = f"{moment.day} {moment:%b}"
    return date if moment.year == today.year else f"{date} {moment.year}"
