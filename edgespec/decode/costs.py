"""What things cost here: a decode of n rows, a draft step, a catch-up. Measured, then corrected while running."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

_POINT_WEIGHT = 0.15
"""How fast one point of a curve follows what is observed, 0 to 1: bounds what one decode can say of its number of rows."""
_DRIFT_WEIGHT = 0.2
"""How fast the common factor follows plain steps: machines change their clock, and all costs move together."""
_OTHER_DRIFT_WEIGHT = 0.08
"""How fast it follows other decodes. What they cost beyond a plain step is arithmetic, and where memory and arithmetic change
their speeds apart, following them as fast would make plain steps look slower than they are, and drafts a gain."""
CATCH_UP_STEPS = 1.25
"""Plain steps that reading what it missed may cost a draft. With 3 (32 to 50 tokens) replays of recorded answers
were 1 to 4 % slower, because the draft then starts later."""
MIN_WINDOW, MAX_WINDOW = 16, 384
"""Tokens; least and most that a returning draft reads (`PairCosts.catch_up_window` says what fewer cost)."""
PADDING_PAYS = 0.97
"""What two rows must cost at most, of one, for single rows to be padded: a smaller gain may be chance."""
_MOST_PADDING = 3
"""Rows that a batch may be padded with: bounds what is computed and taken back at once."""
_CLIP = (0.5, 2.0)
"""One observation counts for no more than this factor: a page fault is not a trend."""


@dataclass(slots=True)
class CostCurve:
    """Seconds of one decode by its number of rows: a staircase, kept as points with straight lines between.

    With 20 ms for 1 row, 30 for 4 and 64 for 8, two rows cost 23.3 ms, six 47, and twelve 64 + 4 * (64 - 20) / 7 = 89.
    """

    points: dict[int, float]
    """Rows -> seconds; one at least, all above 0."""
    _rows: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._rows = sorted(self.points)

    def cost(self, rows: int) -> float:
        """Seconds of a decode of `rows` rows, at least 1.

        Beyond the last point with the slope from the first to the last; below the first and with one point alone in
        proportion to the rows, which promises no gain.
        """
        known = self._rows
        at = bisect_left(known, rows)
        if at < len(known) and known[at] == rows:
            return self.points[rows]
        if at == 0:
            return self.points[known[0]] * rows / known[0]
        if at == len(known):
            first, last = known[0], known[-1]
            if first == last:
                return self.points[last] * rows / last
            slope = (self.points[last] - self.points[first]) / (last - first)
            return self.points[last] + max(slope, 0.0) * (rows - last)
        low, high = known[at - 1], known[at]
        share = (rows - low) / (high - low)
        return self.points[low] * (1 - share) + self.points[high] * share

    def scale(self, factor: float) -> None:
        """Multiplies all points."""
        for rows in self.points:
            self.points[rows] *= factor

    def nudge(self, rows: int, factor: float) -> None:
        """Moves the point of that many rows, if there is one, by a share of `factor`."""
        if rows in self.points:
            self.points[rows] *= factor**_POINT_WEIGHT


@dataclass(slots=True)
class PairCosts:
    """The cost model of a target and, if there is one, its draft.

    `verify` is t_v(n); `draft` is the draft's own curve: t_d is `draft.cost(1)`, a catch-up of n tokens
    is `draft.cost(n)`. Both move by one common factor with the speed of the machine.
    """

    verify: CostCurve
    draft: CostCurve | None = None
    round_s: float = 0.0
    """Python's own work in a round."""
    target_pads: bool = False
    """Whether a pass of one row goes faster as one of two, as with kernels that read memory better for several."""
    draft_pads: bool = False
    batch_for: dict[int, int] = field(init=False)
    """Rows -> the batch size, no smaller, that they are evaluated as; see `refresh_batches`."""

    def __post_init__(self) -> None:
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

    def catch_up_window(self) -> int:
        """Rows that a draft may read to come back: as many as cost little more than a plain step.

        Measured with Qwen2.5-Coder 1.5B and 0.5B on 18 answers of Spec-Bench: with the last 16 tokens the draft's
        acceptance is 0.49 for the next 8 tokens, 0.63 for the 16th to 32nd and 0.71 from there on; with the last 32 it is
        0.73, 0.67 and 0.70, and with all of the text 0.89, 0.76 and 0.82. What reads it all is mostly copying, and that
        is the n-grams' own.
        """
        if self.draft is None:
            return 0
        affordable_s = CATCH_UP_STEPS * self.step_s
        rows = [
            count for count in range(MIN_WINDOW, MAX_WINDOW + 1, 4) if self.draft.cost(count) <= affordable_s
        ]
        return max(rows, default=MIN_WINDOW)

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
        self._observe(self.verify, rows, seconds)

    def observe_draft(self, rows: int, seconds: float) -> None:
        """Corrects the model by one draft decode of `rows` rows that took `seconds`; nothing without a draft."""
        if self.draft:
            self._observe(self.draft, rows, seconds)

    def _observe(self, curve: CostCurve, rows: int, seconds: float) -> None:
        factor = min(max(seconds / curve.cost(rows), _CLIP[0]), _CLIP[1])
        curve.nudge(rows, factor)
        is_plain = curve is self.verify and rows == 1
        drift = factor ** (_DRIFT_WEIGHT if is_plain else _OTHER_DRIFT_WEIGHT)
        self.verify.scale(drift)
        if self.draft:
            self.draft.scale(drift)


def pays_to_pad(points: Mapping[int, float]) -> bool:
    """Whether one row should be evaluated as two, from seconds by rows."""
    return 2 in points and points[2] < PADDING_PAYS * points[1]


def curve_from(points: Mapping[int, float]) -> CostCurve:
    """A curve of its own from measured points, in seconds by rows."""
    return CostCurve(dict(points))
