"""Follows what moves on a machine while it runs: a Kalman filter on logarithms.

Three things move: the speed of everything, what many rows cost beside one (memory and arithmetic change their speeds
apart), and what the draft costs beside the target. Each timed decode says something of two of them. Their covariance is
kept whole: what a draft step and a target pass say together tells a slower machine from a dearer draft.
"""

import math
from dataclasses import dataclass, field
from typing import Final

NOISE: Final = 0.05**2
"""Least variance of the logarithm of one decode's time: 3 to 6 % on a quiet machine of two cores. Where other programs run it is
many times that, and learnt."""
NOISE_SHARE: Final = 1.0 / 32
"""How fast it is: a memory of 32 decodes."""
UNKNOWN: Final = (0.5**2, 0.2**2, 0.2**2)
"""Variances at first: a machine may be twice as fast or slow as when its costs were measured, and a measurement beside another
program is off by a fifth in what costs what."""
WALK: Final = (0.03**2, 0.005**2, 0.005**2)
"""What a decode adds to them: a machine at half its speed is known for what it is after 8 decodes, and a steady one followed
with an error of 3 %. The other two move seldom."""
SURPRISE: Final = 3.0
"""Standard deviations beyond which a first observation is clipped, and a second one on the same side believed: a page fault
is not a trend."""

Three = tuple[float, float, float]


@dataclass(slots=True)
class SpeedFilter:
    """What has moved since the costs were measured, and how sure that is."""

    moved: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Logarithms: of the speed, of many rows beside one, of the draft beside the target."""
    _covariance: list[list[float]] = field(
        default_factory=lambda: [
            [UNKNOWN[row] if row == column else 0.0 for column in range(3)] for row in range(3)
        ]
    )
    _noise: float = NOISE
    _left: float = 0.0
    """Of the last decode, what was left unexplained."""
    _surprised: float = 0.0

    def observe(self, loads: Three, surprise: float) -> tuple[Three, float]:
        """Takes in a timed decode.

        Args:
            loads: How much of each of the three is in it, 0 to 1.
            surprise: Logarithm of its seconds over what was expected.

        Returns:
            By how much each has moved, and what of the surprise is left unexplained.
        """
        spread = [sum(cell * load for cell, load in zip(row, loads, strict=True)) for row in self._covariance]
        variance = self._noise + sum(load * cell for load, cell in zip(loads, spread, strict=True))
        surprise = self._clip(surprise, SURPRISE * math.sqrt(variance))
        gains = [cell / variance for cell in spread]
        for row, gain in enumerate(gains):
            own = self._covariance[row]
            for column in range(3):
                own[column] -= gain * spread[column]
            if own[row] < UNKNOWN[row]:
                own[row] += WALK[row]
        steps = (surprise * gains[0], surprise * gains[1], surprise * gains[2])
        for place, step in enumerate(steps):
            self.moved[place] += step
        before, self._left = self._left, surprise * self._noise / variance
        # From one decode to the next: what all of them have in common is a change, and no noise (von Neumann 1941).
        seen = (self._left - before) ** 2 / 2.0
        self._noise = max(self._noise + NOISE_SHARE * (seen - self._noise), NOISE)
        return steps, self._left

    def _clip(self, surprise: float, most: float) -> float:
        side = math.copysign(1.0, surprise) if abs(surprise) > most else 0.0
        is_believed = side == 0.0 or side == self._surprised
        self._surprised = side
        return surprise if is_believed else side * most
