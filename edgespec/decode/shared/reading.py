"""How the rows that a round has left are shared out among prompts that wait to be read."""

from collections.abc import Sequence

from edgespec.decode.costs import CostCurve

ROUND_STEPS, SHORTEST_ROUND_S, LONGEST_ROUND_S = 2.0, 0.03, 0.15
"""What a round takes at most, if it can be helped, while prompts are read beside answers, which is the time between their tokens: twice
what it would without, in these bounds. Shorter ones read prompts in pieces too small to be read well."""
LEAST_CHUNK = 16
"""Rows of prompts that every round has room for, however long it takes."""
_OLDEST_SHARE = 2
"""The prompt that has waited longest gets a half at least, and the shortest ones the rest: short prompts do not wait for long ones, and
long ones come to their end."""
_LEARNT = 0.3
"""Share of the last round's time in what a row is expected to take."""
_TELLING_ROWS = 64
"""Rows of prompts from which on a round says what they cost."""


class ReadingSpeed:
    """What rows of prompts cost beside others.

    Args:
        curve: Of the target's decodes, by rows.
    """

    def __init__(self, curve: CostCurve) -> None:
        most = max(curve.points)
        self._row_s = curve.cost(most) / most

    def observe(self, rows: int, seconds: float) -> None:
        """So many rows of prompts took that long."""
        if rows >= _TELLING_ROWS and seconds > 0:
            self._row_s += _LEARNT * (seconds / rows - self._row_s)

    def rows_in(self, seconds: float) -> int:
        """How many can be read in that time."""
        return max(LEAST_CHUNK, int(seconds / self._row_s))


def round_s(step_s: float) -> float:
    """Seconds that a round may take in which prompts are read beside answers whose own rows take `step_s`."""
    return min(max(ROUND_STEPS * step_s, SHORTEST_ROUND_S), LONGEST_ROUND_S)


def share_out(rows: int, unread: Sequence[int]) -> list[int]:
    """How many rows each prompt gets, `[n]`.

    Of 100 rows for prompts that lack 300, 20 and 500, in the order in which they came, the first gets 80 and the second 20.

    Args:
        rows: That there are.
        unread: Tokens that each prompt lacks, the oldest first.
    """
    given = [0] * len(unread)
    if not unread:
        return given
    given[0] = min(unread[0], -(-rows // _OLDEST_SHARE))
    left = rows - given[0]
    for place in sorted(range(len(unread)), key=lambda place: unread[place] - given[place]):
        more = min(unread[place] - given[place], left)
        given[place] += more
        left -= more
    return given
