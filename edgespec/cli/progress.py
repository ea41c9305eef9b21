"""Progress with an estimate of the time left, on stderr, only where a person sees it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgespec.cli.style import message_console
from edgespec.progress import SILENT, Progress, Unit
from edgespec.text import one_line

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import ProgressColumn, TaskID


@contextmanager
def shown_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Shows a bar for as long as the block runs, from its first stage on.

    Nothing is written when stderr is not a terminal or `quiet` is set. Output printed inside the block goes to its own
    stream untouched; what is printed to stderr appears above the bar.

    Args:
        quiet: Show nothing.
    """
    if quiet or not _is_terminal():
        yield SILENT
        return
    shown = _Bars()
    try:
        yield shown
    finally:
        shown.stop()


def _is_terminal() -> bool:
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


class _Bars:
    """A bar of the current stage; another unit has another bar."""

    def __init__(self) -> None:
        self._unit: Unit | None = None
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._total: float | None = None
        self._done = 0.0

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        if self._bar is None or unit != self._unit:
            self.stop()
            self._unit, self._bar = unit, _make_bar(unit)
            self._bar.start()
        if self._task is not None and total == self._total and done >= self._done:
            self._bar.update(self._task, description=one_line(label), completed=done)
        else:
            # A new task, and not the old one reset: the time left is reckoned from what this stage did.
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(one_line(label), total=total)
            self._bar.update(self._task, completed=done)
        self._total, self._done = total, done

    def advance(self, amount: float = 1) -> None:
        if self._bar is not None and self._task is not None:
            self._done += amount
            self._bar.update(self._task, completed=self._done)

    def stop(self) -> None:
        """Takes the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None


def _make_bar(unit: Unit) -> "RichProgress":
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amounts: dict[Unit, tuple[ProgressColumn, ...]] = {
        "steps": (MofNCompleteColumn(),),
        "bytes": (DownloadColumn(binary_units=True), TransferSpeedColumn()),
        "seconds": (TaskProgressColumn(),),
    }
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        *amounts[unit],
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=message_console(),
        transient=True,
        # The console is stderr's: redirecting stdout would send the result there.
        redirect_stdout=False,
        # Four times a second is enough for eyes and leaves the cores to what is measured.
        refresh_per_second=4,
    )
