"""The old faces of progress over the new one, until everything that works takes `edgespec.progress.Progress`."""

from typing import Any

from edgespec.progress import Progress, Unit


def adapted(progress: Progress, unit: Unit = "bytes") -> Any:
    """Takes the calls of every old kind, and of the new one.

    Args:
        progress: Who is told.
        unit: Of `(done, total, label)`.
    """
    return _Adapted(progress, unit)


class _Adapted:
    def __init__(self, progress: Progress, unit: Unit) -> None:
        self.stage, self.advance = progress.stage, progress.advance
        self._unit = unit

    def __call__(self, *told: Any) -> None:
        match told:
            case [str(label)]:
                self.stage(label)
            case [str(label), done, total]:
                self.stage(label, total, done=done, unit="bytes" if label == "writing" else "steps")
            case [done, total, str(label)]:
                self.stage(label, total or None, done=done, unit=self._unit)


def advanced(progress: Progress) -> Any:
    """For a part of a stage that has begun: takes `(done, total)`, `(label, done, total)`, and the new kind's calls."""
    return _Advanced(progress)


class _Advanced:
    def __init__(self, progress: Progress) -> None:
        self.stage, self.advance = progress.stage, progress.advance
        self._done = 0.0

    def __call__(self, *told: Any) -> None:
        done = told[-2]
        self.advance(done - self._done)
        self._done = done
