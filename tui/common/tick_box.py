"""A box to tick."""

from textual.widgets import Checkbox


class TickBox(Checkbox):
    """It is empty where it is off. Textual's has a pale X there, which is a tick wherever its colour does not tell."""

    def __init__(self, label: str, value: bool, *, name: str) -> None:
        self._mark(value)
        super().__init__(label, value, id=name, compact=True)

    def watch_value(self) -> None:
        """Shows what it is now."""
        self._mark(self.value)
        super().watch_value()

    def _mark(self, value: bool) -> None:
        self.BUTTON_INNER = "X" if value else " "
