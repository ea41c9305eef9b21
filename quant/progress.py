"""The old face of progress, for rooms that have not taken `edgespec.progress` yet; nothing in quant uses it."""

from collections.abc import Callable

from edgespec.progress import Unit

ChunkProgress = Callable[[int, int], None]
StageProgress = Callable[[str, int, int], None]


def stage_of(progress: StageProgress | None, label: str) -> ChunkProgress | None:
    """Progress inside one stage."""
    return None if progress is None else lambda done, total: progress(label, done, total)


class FromStages:
    """`edgespec.progress.Progress` that tells a StageProgress."""

    def __init__(self, report: StageProgress) -> None:
        self._report, self._label, self._total, self._done = report, "", 1.0, 0.0

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        """Begins a stage."""
        self._label, self._total, self._done = label, total or 1, done
        self._tell()

    def advance(self, amount: float = 1) -> None:
        """Adds to what is done of it."""
        self._done += amount
        self._tell()

    def _tell(self) -> None:
        self._report(self._label, int(self._done), int(self._total))
