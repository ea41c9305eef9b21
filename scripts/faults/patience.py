"""Time that a process had to get on: a machine that sleeps, or stops everybody, is not its fault."""

import time
from typing import Final

_MOST_S: Final = 1.0
"""Between two looks; what is longer was a break for all."""


class Patience:
    """How long somebody still waits. It has to be looked at more often than every second.

    Args:
        seconds: In all.
    """

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._looked_s = time.monotonic()

    def left_s(self) -> float:
        """Seconds, 0 when it is over."""
        now_s = time.monotonic()
        self._left_s -= min(now_s - self._looked_s, _MOST_S)
        self._looked_s = now_s
        return max(0.0, self._left_s)
