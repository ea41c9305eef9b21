"""One line to write or change, above a screen."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Static

from edgespec.text import plain_text
from tui.common.dialog import Dialog


class LineScreen(Dialog[str | None]):
    """Dismissed with what is written, without white space around it; None where it was left or nothing is written."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="line.cancel", tooltip="Keep what was there"),
    ]

    def __init__(self, title: str, text: str, yes: str = "Save") -> None:
        super().__init__()
        self._title, self._text, self._yes = title, text, yes

    def compose(self) -> ComposeResult:
        """Title, line and buttons."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static(plain_text(self._title), markup=False, classes="dialog-title")
            yield Input(self._text, compact=True, select_on_focus=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Cancel", id="cancel")
                yield Button(self._yes, id="save", variant="primary")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "save":
            self._take()
        else:
            self.dismiss(None)

    @on(Input.Submitted)
    def _take(self) -> None:
        self.dismiss(self.query_one(Input).value.strip() or None)

    def action_cancel(self) -> None:
        """By key."""
        self.dismiss(None)
