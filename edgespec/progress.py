"""How long work tells what it is doing: one interface for all of it, and one adapter for each front door.

    progress.stage("reading the calibration text", len(windows))
    for window in windows:
        evaluate(window)
        progress.advance()

Whoever knows what a piece of work is called begins its stage; whoever does a part of it advances.
"""

from collections.abc import Callable
from typing import Final, Literal, Protocol

Unit = Literal["steps", "bytes", "seconds"]


class Progress(Protocol):
    """What a piece of work tells about itself."""

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        """Begins a stage; the one before is over.

        Called again with the same total and with no less done, it goes on with the stage under another label.

        Args:
            label: What is being done, in a few words.
            total: How much there is to do, in `unit`; None when nobody knows.
            done: How much of it was done before, such as the bytes of an earlier download.
            unit: What is counted.
        """

    def advance(self, amount: float = 1) -> None:
        """Adds to what is done of the stage.

        Args:
            amount: In the stage's unit; below 0 for what turned out to be of no use and is done again.
        """


class _Silent:
    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        pass

    def advance(self, amount: float = 1) -> None:
        pass


SILENT: Final[Progress] = _Silent()
"""For those who do not look."""


def advance_to(progress: Progress, done: float = 0) -> Callable[[float], None]:
    """For work that says how much is done in all: the stage advances by what is new.

    Args:
        progress: Whose stage has begun.
        done: What it began with.
    """

    def report(done_now: float) -> None:
        nonlocal done
        progress.advance(done_now - done)
        done = done_now

    return report
