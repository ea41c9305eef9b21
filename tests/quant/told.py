"""A progress that notes what it is told."""

from dataclasses import dataclass, field

from edgespec.progress import Unit


@dataclass(slots=True)
class Stage:
    """A stage as it began, and how much of it was done."""

    label: str
    total: float | None
    unit: Unit
    done: float


@dataclass(slots=True)
class Told:
    """`edgespec.progress.Progress`."""

    stages: list[Stage] = field(default_factory=list)

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        self.stages.append(Stage(label, total, unit, done))

    def advance(self, amount: float = 1) -> None:
        self.stages[-1].done += amount

    @property
    def labels(self) -> list[str]:
        return [stage.label for stage in self.stages]
