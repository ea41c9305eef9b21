"""The result: what the new model is worth beside the dense one."""

from rich.console import Group
from rich.text import Text
from textual.widgets import Static

from edgespec.worker.jobs.measure import Comparison
from edgespec.worker.jobs.written import Made
from tui.workshop.comparison import comparison_table, lines_table, measured_on


class ResultPane(Static):
    """Both models' figures, as far as they are measured, and what was noted when the new one was made."""

    def __init__(self) -> None:
        super().__init__("", id="workshop-result", markup=False)

    def show(self, found: Comparison, made: Made | None) -> None:
        """Puts these figures in the place of earlier ones."""
        notes = [("quality on", measured_on(found))] if found.dense.quality else []
        if made is not None:
            notes += [*made.notes, ("written", str(made.path))]
        self.update(Group(comparison_table(found), Text(), lines_table(notes)))

    def clear(self) -> None:
        """Shows nothing: another model is being made."""
        self.update("")
