"""Notices an engine process that has been stopped or hangs, so that nobody waits for it for ever.

Time is counted in looks, a second apart. One that comes late does not count: whatever held this process up, as when the whole
machine was stopped, may have held up the engine, too.
"""

import asyncio
from typing import Final

LOOK_S: Final = 1.0
_LATE: Final = 2.0
SILENT_S = 60.0
"""Without a frame, where one comes every second: the process has been stopped, or a thread of it holds all others up."""
STARTING: Final = 5.0
"""Times as long until the first frame comes: Python and its packages are read from the disk meanwhile."""
STUCK_S = 900.0
"""With frames that tell of no new round, at least; rounds of slow models may take longer."""
SLOWEST_ROUND_STEPS: Final = 4 * 512
"""Plain steps that no round takes as long as, by far: the largest one reads 512 tokens of a prompt, many of them at a time."""


class Watchdog:
    """Counts how long an engine has been silent while something is wanted of it."""

    def __init__(self) -> None:
        self.step_s = 0.0
        """Of a plain step, once it is known."""
        self._silent_s = self._same_s = 0.0
        self._rounds_n = -1
        self._was_heard = False
        self._looked_s = asyncio.get_running_loop().time()

    def heard(self, rounds_n: int | None = None) -> None:
        """A frame came.

        Args:
            rounds_n: Rounds computed so far, where it tells that; None where it shows by itself that one was.
        """
        self._was_heard = True
        self._silent_s = 0.0
        if rounds_n is None or rounds_n != self._rounds_n:
            self._same_s = 0.0
        if rounds_n is not None:
            self._rounds_n = rounds_n

    def look(self, *, is_awaited: bool, is_opening: bool) -> str | None:
        """What is wrong with the engine, in a clause; None where nothing is.

        Args:
            is_awaited: Whether something is wanted of it.
            is_opening: Whether it loads its models, which has no rounds.
        """
        now_s = asyncio.get_running_loop().time()
        passed_s, self._looked_s = now_s - self._looked_s, now_s
        if not is_awaited or passed_s > _LATE * LOOK_S:
            return None
        self._silent_s += passed_s
        self._same_s = 0.0 if is_opening else self._same_s + passed_s
        if self._silent_s >= SILENT_S * (1 if self._was_heard else STARTING):
            return f"has said nothing for {self._silent_s:.0f} s"
        if self._same_s >= max(STUCK_S, SLOWEST_ROUND_STEPS * self.step_s):
            return f"has been at one round for {self._same_s:.0f} s"
        return None
