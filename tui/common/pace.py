"""How often the screen is painted while the engine works: as often as a small share of one core allows."""

from collections.abc import Callable
from time import monotonic, process_time

SHARE = 0.015
"""Of a core. The engine has all of them, and waits for the slowest of its threads: what the screen takes, the answer
loses."""
SHORTEST_S = 0.04
LONGEST_S = 0.33
_FORGETS = 0.8


class Pace:
    """Says whether a paint is due. Costs are this process's own processor time, smoothed over a few paints."""

    def __init__(
        self, cpu_clock: Callable[[], float] = process_time, clock: Callable[[], float] = monotonic
    ) -> None:
        self._cpu_clock, self._clock = cpu_clock, clock
        self._cpu_s, self._painted_s = cpu_clock(), -LONGEST_S
        self._cost_s = SHARE * SHORTEST_S

    @property
    def period_s(self) -> float:
        """Time between two paints now."""
        return min(max(self._cost_s / SHARE, SHORTEST_S), LONGEST_S)

    def wait_s(self) -> float:
        """Until the next paint is due; 0 when it is."""
        return max(self._painted_s + self.period_s - self._clock(), 0.0)

    def painted(self) -> None:
        """A paint begins: what was spent since the last one was its cost."""
        now_cpu, now = self._cpu_clock(), self._clock()
        if now - self._painted_s < 2 * LONGEST_S:
            self._cost_s += (1 - _FORGETS) * (now_cpu - self._cpu_s - self._cost_s)
        self._cpu_s, self._painted_s = now_cpu, now
