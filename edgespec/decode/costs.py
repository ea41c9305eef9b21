"""What things cost here: a decode of n rows, a draft step, a catch-up. Measured, then followed while running.

What moves on a machine that does something else as well is followed by `speed_filter.SpeedFilter`.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgespec.decode.speed_filter import SpeedFilter

RETURN = 1.0 / 64
"""Share by which, with every plain step, a change of what rows or the draft cost is forgotten: where it keeps drafts away,
nothing would show that it is over."""
SURE = 0.15
"""Standard deviation of what a plain step takes above which one is taken to learn it: one when a program starts, and one in some
600 decodes that are all of several rows. Else a plain step that was timed beside another program would look dear for ever.
Plain steps reach it however they are disturbed (`speed_filter.MOST_NOISE`): with 0.1 drafts stayed off beside a busy program
and long after it, at 1.07x of plain decoding instead of 1.77x and 1.43x (`scripts/beside_another_program.py`)."""
PADDING_PAYS = 0.97
"""What two rows must cost at most, of one, for single rows to be padded: a smaller gain may be chance."""
_MOST_PADDING = 3
"""Rows that a batch may be padded with: bounds what is computed and taken back at once."""
POINT_SHARE = 0.02
"""Of what is left unexplained, how much is taken for the number of rows itself: bounds what one decode can say of it."""


class CostCurve:
    """Seconds of one decode by its number of rows: a staircase, kept as points with straight lines between.

    With 20 ms for 1 row, 30 for 4 and 64 for 8, two rows cost 23.3 ms, six 47, and twelve 64 + 4 * (64 - 20) / 7 = 89.

    Args:
        points: Rows -> seconds; one at least, all above 0. They are copied.
    """

    def __init__(self, points: Mapping[int, float]) -> None:
        self._points = dict(points)
        self._rows = sorted(points)
        self._factor = 1.0

    @property
    def points(self) -> dict[int, float]:
        """Rows -> seconds, as they are now."""
        return {rows: self._factor * seconds for rows, seconds in self._points.items()}

    def cost(self, rows: int) -> float:
        """Seconds of a decode of `rows` rows, at least 1.

        Beyond the last point with the slope from the first to the last; below the first and with one point alone in
        proportion to the rows, which promises no gain.
        """
        if rows in self._points:
            return self._factor * self._points[rows]
        return self._factor * self._between(rows)

    def _between(self, rows: int) -> float:
        known, points = self._rows, self._points
        at = bisect_left(known, rows)
        if at == 0:
            return points[known[0]] * rows / known[0]
        if at == len(known):
            first, last = known[0], known[-1]
            if first == last:
                return points[last] * rows / last
            slope = (points[last] - points[first]) / (last - first)
            return points[last] + max(slope, 0.0) * (rows - last)
        low, high = known[at - 1], known[at]
        share = (rows - low) / (high - low)
        return points[low] * (1 - share) + points[high] * share

    def scale(self, factor: float) -> None:
        """Multiplies all points."""
        self._factor *= factor

    def tilt(self, factor: float) -> None:
        """Multiplies what many rows cost, and of fewer a share of it (`row_share`): 1 row stays as it is."""
        for rows in self._rows:
            self._points[rows] *= factor ** row_share(rows)

    def nudge(self, rows: int, factor: float) -> None:
        """Multiplies the point of that many rows, if there is one."""
        if rows in self._points:
            self._points[rows] *= factor


def row_share(rows: int) -> float:
    """How much of a decode is for other rows than the first: 0 for 1 row, 0.5 for 2, 0.75 for 4."""
    return 1.0 - 1.0 / rows


@dataclass(slots=True)
class PairCosts:
    """The cost model of a target and, if there is one, its draft.

    `verify` is t_v(n); `draft` is the draft's own curve: t_d is `draft.cost(1)`, a catch-up of n tokens
    is `draft.cost(n)`.
    """

    verify: CostCurve
    draft: CostCurve | None = None
    target_pads: bool = False
    """Whether a pass of one row goes faster as one of two, as with kernels that read memory better for several."""
    draft_pads: bool = False
    batch_for: dict[int, int] = field(init=False)
    """Rows -> the batch size, no smaller, that they are evaluated as; see `refresh_batches`."""
    first_step_s: float = field(init=False)
    """What a plain step took at first, when it was measured or taken from what was kept."""
    _filter: SpeedFilter = field(default_factory=SpeedFilter)

    def __post_init__(self) -> None:
        self.first_step_s = self.step_s
        self.refresh_batches()

    @property
    def step_batch(self) -> int:
        """Rows of a plain step's batch."""
        return 2 if self.target_pads else 1

    @property
    def draft_batch(self) -> int:
        """Rows of a draft step's batch."""
        return 2 if self.draft_pads else 1

    @property
    def step_s(self) -> float:
        """One plain step, t_v(1)."""
        return self.verify.cost(1)

    @property
    def draft_step_s(self) -> float:
        """One draft step, t_d; infinite without a draft."""
        return self.draft.cost(1) if self.draft else float("inf")

    def verify_s(self, rows: int) -> float:
        """Seconds of a target decode of `rows` rows, padded where that is cheaper."""
        return self.verify.cost(self.batch_for.get(rows, rows))

    def share_s(self, n_answers: int) -> float:
        """What a plain step of one of several answers costs that are decoded together, a row of each."""
        return self.verify.cost(n_answers) / n_answers

    def passes(self, n_answers: int, most: int) -> list[float]:
        """Plain steps of one of several answers by the rows of each, none to `most`, where all have as many.

        With 20 ms for two rows, 28 for four and 40 for six, a second row of two answers is 0.4 of a plain step (10 ms) and a third
        one 0.6.

        Args:
            n_answers: That are decoded together; alone, rows are padded where that is cheaper.
            most: Rows of each.
        """
        step_s = self.verify.cost(n_answers)
        cost = self.verify_s if n_answers == 1 else self.verify.cost
        return [0.0, *(cost(n_answers * rows) / step_s for rows in range(1, most + 1))]

    def refresh_batches(self) -> None:
        """For every number of rows, the batch size at least as large that costs least (a staircase can go down).

        Where 2 rows cost 34 ms, 3 rows 32 and 4 rows 30, all three are evaluated as 4.
        """
        largest = max(self.verify.points)
        self.batch_for = {
            rows: min(range(rows, min(rows + _MOST_PADDING, largest) + 1), key=self.verify.cost)
            for rows in range(2, largest + 1)
        }
        self.batch_for[1] = 1

    def observe_verify(self, rows: int, seconds: float) -> None:
        """Corrects the model by one target decode of `rows` rows that took `seconds`."""
        surprise = math.log(seconds / self.verify.cost(rows))
        moved, left = self._filter.observe((1.0, row_share(rows), 0.0), surprise)
        self._move(*moved)
        if rows == 1:
            self._forget()
        else:
            self.verify.nudge(rows, math.exp(POINT_SHARE * left))

    def observe_draft(self, rows: int, seconds: float) -> None:
        """Corrects the model by one draft decode of `rows` rows that took `seconds`; nothing without a draft."""
        if self.draft:
            surprise = math.log(seconds / self.draft.cost(rows))
            moved, left = self._filter.observe((1.0, 0.0, 1.0), surprise)
            self._move(*moved)
            self.draft.nudge(rows, math.exp(POINT_SHARE * left))

    def doubt(self) -> None:
        """Takes all of it for what was true at another time; a plain step will tell."""
        self._filter.doubt()

    @property
    def pass_deviation(self) -> float:
        """By how much passes of one size vary now, as a share of their time."""
        return self._filter.pass_deviation

    @property
    def knows_step(self) -> bool:
        """Whether what a plain step takes is known well enough to compare drafts with it."""
        return self._filter.step_deviation < SURE

    def _move(self, speed: float, rows: float, draft: float) -> None:
        self.verify.scale(math.exp(speed))
        if rows:
            self.verify.tilt(math.exp(rows))
        if self.draft:
            self.draft.scale(math.exp(speed + draft))

    def _forget(self) -> None:
        _, rows, draft = (RETURN * moved for moved in self._filter.moved)
        self._filter.moved[1] -= rows
        self._filter.moved[2] -= draft
        self._move(0.0, -rows, -draft)


def pays_to_pad(points: Mapping[int, float]) -> bool:
    """Whether one row should be evaluated as two, from seconds by rows."""
    return 2 in points and points[2] < PADDING_PAYS * points[1]
