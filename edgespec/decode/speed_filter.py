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
MOST_NOISE: Final = 0.5
"""What one decode can say of it at most: one that takes many times as long may be a page fault. Where every decode is so, what a
step takes is still known to within the root of 0.03 * 0.71, 0.146 (`WALK`)."""
MEASURED: Final = (0.05**2, 0.2**2, 0.2**2)
"""Variances of what has just been measured: beside another program it is off by a fifth in what costs what."""
UNKNOWN: Final = (0.5**2, 0.2**2, 0.2**2)
"""What is added where all is in doubt: a machine may be twice as fast or slow as when its costs were measured."""
WALK: Final = (0.03**2, 0.005**2, 0.005**2)
"""What a decode adds to them: a machine at half its speed is known for what it is after 8 decodes, and a steady one followed
with an error of 3 %. The other two move seldom."""
SURPRISE: Final = 3.0
"""Standard deviations beyond which a first decode of a kind says little, and a second one on the same side that all may have
changed: a page fault is not a trend."""

Three = tuple[float, float, float]


@dataclass(slots=True)
class SpeedFilter:
    """What has moved since the costs were measured, and how sure that is."""

    moved: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Logarithms: of the speed, of many rows beside one, of the draft beside the target."""
    _covariance: list[list[float]] = field(
        default_factory=lambda: [
            [MEASURED[row] if row == column else 0.0 for column in range(3)] for row in range(3)
        ]
    )
    _noise: float = NOISE
    _surprised: dict[Three, float] = field(default_factory=dict)
    """By kind of decode, whether the last one was a surprise, and on which side."""
    _last: dict[Three, float] = field(default_factory=dict)
    """By kind of decode, the last surprise."""

    def observe(self, loads: Three, surprise: float) -> tuple[Three, float]:
        """Takes in a timed decode.

        Args:
            loads: How much of each of the three is in it, 0 to 1.
            surprise: Logarithm of its seconds over what was expected.

        Returns:
            By how much each has moved, and what of the surprise is left unexplained.
        """
        spread, variance = self._expect(loads)
        side = math.copysign(1.0, surprise) if abs(surprise) > SURPRISE * math.sqrt(variance) else 0.0
        if side and side == self._surprised.get(loads):
            self.doubt()
            spread, variance = self._expect(loads)
        elif side:
            # As if the decode had been so noisy that it is no surprise.
            variance = (surprise / SURPRISE) ** 2
        self._surprised[loads] = side
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
        left = surprise * self._noise / variance
        self._learn_noise(loads, surprise)
        return steps, left

    @property
    def pass_deviation(self) -> float:
        """Standard deviation of one decode by itself, as a share of its time."""
        return math.sqrt(self._noise)

    @property
    def step_deviation(self) -> float:
        """Standard deviation of what a plain step takes, as a share of it."""
        return math.sqrt(self._covariance[0][0])

    def _expect(self, loads: Three) -> tuple[list[float], float]:
        """How a decode varies with each of the three, and by itself."""
        speed, rows, draft = loads
        spread = [a * speed + b * rows + c * draft for a, b, c in self._covariance]
        return spread, self._noise + spread[0] * speed + spread[1] * rows + spread[2] * draft

    def _learn_noise(self, loads: Three, surprise: float) -> None:
        # From one decode to the next of its kind: what both have in common is a change, and no noise (von Neumann 1941).
        seen = min((surprise - self._last.get(loads, surprise)) ** 2 / 2.0, MOST_NOISE)
        self._last[loads] = surprise
        self._noise = max(self._noise + NOISE_SHARE * (seen - self._noise), NOISE)

    def doubt(self) -> None:
        """Takes all of it for what was true at another time."""
        for place, unknown in enumerate(UNKNOWN):
            self._covariance[place][place] += unknown
