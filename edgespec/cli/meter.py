"""The old face of progress, until every caller has taken `edgespec.progress`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgespec.cli.progress import shown_progress
from edgespec.progress import Progress, Unit


class Meter:
    """What a piece of work tells about itself."""

    def __init__(self, progress: Progress, total: float | None, label: str, unit: Unit) -> None:
        self._progress, self._total, self._label, self._unit, self._done = progress, total, label, unit, 0.0
        self._tell()

    def _tell(self) -> None:
        self._progress.stage(self._label, self._total, done=self._done, unit=self._unit)

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        self._tell()

    def set_done(self, amount: float) -> None:
        self._done = amount
        self._tell()

    def set_total(self, amount: float) -> None:
        self._total = amount
        self._tell()

    def set_label(self, label: str) -> None:
        self._label = label
        self._tell()


@contextmanager
def progress(
    total: float | None, label: str, *, quiet: bool = False, unit: Unit = "steps"
) -> Iterator[Meter]:
    with shown_progress(quiet=quiet) as shown:
        yield Meter(shown, total, label, unit)


def to_stages(meter: Meter) -> Callable[[str, int, int], None]:
    def report(label: str, done: int, total: int) -> None:
        meter.set_label(label)
        meter.set_total(total)
        meter.set_done(done)

    return report
