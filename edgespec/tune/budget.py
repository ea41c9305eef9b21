"""The time that a search may take."""

from collections.abc import Callable
from typing import Final

_CONFIRM_SHARE: Final = 0.45
"""Of the budget, left for running the finalists at the end."""


class TimeBudget:
    """Counts from when it is made.

    Args:
        budget_s: For the whole search.
        clock: Seconds; another one in tests.
    """

    def __init__(self, budget_s: float, clock: Callable[[], float]) -> None:
        self.budget_s = budget_s
        self._clock, self._began = clock, clock()

    @property
    def used_s(self) -> float:
        """Since the beginning."""
        return self._clock() - self._began

    @property
    def left_s(self) -> float:
        """Negative once it is overdrawn."""
        return self.budget_s - self.used_s

    def allows_another(self) -> bool:
        """Whether one more variant may be begun: what is known can still be confirmed after it."""
        return self.left_s > _CONFIRM_SHARE * self.budget_s
