"""`Progress` for callers that still take a label with two numbers; it goes with the last of them."""

from collections.abc import Callable

from edgespec.progress import Unit


class ReportedProgress:
    """Hands on what is told as (label, done, total)."""

    def __init__(self, report: Callable[[str, int, int], None]) -> None:
        self._report, self._label, self._total, self._done = report, "", 0.0, 0.0

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        """Begins a stage."""
        self._label, self._total, self._done = label, total or 1, done
        self._tell()

    def advance(self, amount: float = 1) -> None:
        """Adds to what is done."""
        self._done += amount
        self._tell()

    def _tell(self) -> None:
        self._report(self._label, round(self._done), round(self._total))
