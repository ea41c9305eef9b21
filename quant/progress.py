"""How long work tells what it is doing."""

from collections.abc import Callable

from edgespec.progress import Progress, Unit

ChunkProgress = Callable[[int, int], None]
"""Told how many parts are done, and of how many."""
StageProgress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


def stage_of(progress: StageProgress | None, label: str) -> ChunkProgress | None:
    """Progress inside one stage."""
    return None if progress is None else lambda done, total: progress(label, done, total)


def as_progress(progress: StageProgress | None) -> Progress:
    """The new face of the old kind."""
    return _Adapter(progress)


class _Adapter:
    def __init__(self, progress: StageProgress | None) -> None:
        self._progress = progress

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        del unit
        self._label, self._total, self._done = label, int(total or 0), done

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        if self._progress is not None:
            self._progress(self._label, int(self._done), self._total)
