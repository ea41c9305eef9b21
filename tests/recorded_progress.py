"""What a piece of work tells of itself, remembered."""

from edgespec.progress import Unit


class RecordedProgress:
    """`steps` are (done, total, label) after every call; a subclass may interrupt in `step`."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float | None, str]] = []

    @property
    def labels(self) -> list[str]:
        """The stages in order; one that goes on under its own label counts once."""
        labels = [label for _, _, label in self.steps]
        return [label for place, label in enumerate(labels) if place == 0 or labels[place - 1] != label]

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        self.label, self.total, self.done, self.unit = label, total, done, unit
        self.step()

    def advance(self, amount: float = 1) -> None:
        self.done += amount
        self.step()

    def step(self) -> None:
        self.steps.append((self.done, self.total, self.label))
