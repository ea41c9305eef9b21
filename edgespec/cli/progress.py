"""Progress with an estimate of the time left, on stderr, only where a person sees it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol

from edgespec.cli.style import message_console
from edgespec.text import one_line

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

Unit = Literal["steps", "bytes"]


class Meter(Protocol):
    """What a piece of work tells about itself."""

    def advance(self, amount: float = 1) -> None:
        """Adds to what is done."""

    def set_done(self, amount: float) -> None:
        """Says how much is done in all."""

    def set_total(self, amount: float) -> None:
        """Says how much there is to do."""

    def set_label(self, label: str) -> None:
        """Says what is being done now."""


@contextmanager
def progress(
    total: float | None, label: str, *, quiet: bool = False, unit: Unit = "steps"
) -> Iterator[Meter]:
    """Shows a bar for as long as the block runs.

    Nothing is written when stderr is no terminal or `quiet` is set. Output printed inside the block goes to its own
    stream untouched; what is printed to stderr appears above the bar.

    Args:
        total: How much there is to do, in `unit`; None when it is not known yet.
        label: What is being done, in a few words.
        quiet: Show nothing.
        unit: `bytes` shows sizes and a rate.
    """
    if quiet or not _is_terminal():
        yield _SilentMeter()
        return
    with _make_bar(unit) as bar:
        yield _BarMeter(bar, total, label)


def to_stages(meter: Meter) -> Callable[[str, int, int], None]:
    """A meter for work in stages: told what is being done, how much of it is done, and of how much."""

    def report(label: str, done: int, total: int) -> None:
        meter.set_label(label)
        meter.set_total(total)
        meter.set_done(done)

    return report


def _is_terminal() -> bool:
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


class _SilentMeter:
    def advance(self, amount: float = 1) -> None:
        pass

    def set_done(self, amount: float) -> None:
        pass

    def set_total(self, amount: float) -> None:
        pass

    def set_label(self, label: str) -> None:
        pass


class _BarMeter:
    def __init__(self, bar: "Progress", total: float | None, label: str) -> None:
        self._bar = bar
        self._task = bar.add_task(one_line(label), total=total)

    def advance(self, amount: float = 1) -> None:
        self._bar.advance(self._task, amount)

    def set_done(self, amount: float) -> None:
        self._bar.update(self._task, completed=amount)

    def set_total(self, amount: float) -> None:
        self._bar.update(self._task, total=amount)

    def set_label(self, label: str) -> None:
        self._bar.update(self._task, description=one_line(label))


def _make_bar(unit: Unit) -> "Progress":
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amounts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
    if unit == "bytes":
        amounts = (DownloadColumn(binary_units=True), TransferSpeedColumn())
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        *amounts,
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
