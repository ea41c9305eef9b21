"""What a piece of work tells of itself, remembered."""

from collections.abc import Callable
from dataclasses import dataclass, field

from edgespec.progress import Unit


@dataclass(slots=True)
class Stage:
    """A stage as it began, and how much of it is done."""

    label: str
    total: float | None
    unit: Unit
    done: float


@dataclass(slots=True)
class RecordedProgress:
    """`edgespec.progress.Progress`. A callback may interrupt the work."""

    entered: Callable[[str], None] = lambda _label: None
    """Told the label of every stage as it begins."""
    watch: Callable[[float, str], None] = lambda _done, _label: None
    """Told what is done, and of what, after every call."""
    stages: list[Stage] = field(default_factory=list)
    steps: list[tuple[float, float | None, str]] = field(default_factory=list)
    """(done, total, label) after every call."""

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        self.stages.append(Stage(label, total, unit, done))
        self._note()
        self.entered(label)

    def advance(self, amount: float = 1) -> None:
        self.stages[-1].done += amount
        self._note()

    @property
    def labels(self) -> list[str]:
        """The stages in order; one that goes on under its own label counts once."""
        labels = [stage.label for stage in self.stages]
        return [label for place, label in enumerate(labels) if place == 0 or labels[place - 1] != label]

    @property
    def done(self) -> float:
        """Of the last stage."""
        return self.stages[-1].done

    @property
    def units(self) -> set[Unit]:
        """All that was counted in."""
        return {stage.unit for stage in self.stages}

    def find(self, label: str) -> list[tuple[float | None, float]]:
        """Totals of the stages of that name, and what was done of each."""
        return [(stage.total, stage.done) for stage in self.stages if stage.label == label]

    def _note(self) -> None:
        last = self.stages[-1]
        self.steps.append((last.done, last.total, last.label))
        self.watch(last.done, last.label)
