"""What an answer cost, below it: one row of the figures that fit, which opens into all of them and the reason."""

from typing import ClassVar, Final

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import Static

from edgespec.text import plain_text
from tui.chat.conversation import Message
from tui.common.fitting import BETWEEN, fitting

_FOLDED, _OPEN = "▸", "▾"
_FIRST_WIDTH: Final = 60
"""Of a row, before it has a place: one row from the beginning, so that nothing jumps."""
_STOPPED: Final = "stopped, partial answer kept"


class ReceiptLine(Static, can_focus=True):
    """Enter or a click opens it and folds it again; where all of it fits in a row there is nothing to open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter", "toggle_figures", "Figures", show=False, tooltip="Open or fold the figures of an answer"
        )
    ]

    def __init__(self, message: Message | None) -> None:
        super().__init__(markup=False, classes="receipt")
        self._parts: list[str] = []
        self._why = ""
        self._is_open = False
        self.show(message)

    @property
    def details(self) -> str:
        """All figures in a line, and the reason in the next."""
        return "\n".join(filter(None, (BETWEEN.join(self._parts), self._why)))

    def show(self, message: Message | None) -> None:
        """Those of this answer; nothing before it is there."""
        receipt = message.receipt if message else None
        self._parts = [_STOPPED] if message and message.stopped else []
        self._parts += plain_text(receipt.text).split(BETWEEN) if receipt else []
        self._why = plain_text(receipt.why) if receipt else ""
        self.display = bool(self._parts)
        self._paint()

    def on_resize(self, _event: Resize) -> None:
        """Another number of figures fits."""
        self._paint()

    def on_click(self) -> None:
        """Opens or folds."""
        self.action_toggle_figures()

    def action_toggle_figures(self) -> None:
        """Opens or folds."""
        self._is_open = not self._is_open
        self._paint()

    def _paint(self) -> None:
        whole = BETWEEN.join(filter(None, (*self._parts, self._why)))
        width = self.content_size.width or _FIRST_WIDTH
        if cell_len(whole) <= width:
            self.update(whole)
        elif self._is_open:
            self.update(f"{_OPEN} {self.details}")
        else:
            self.update(f"{_FOLDED} {fitting(self._parts, width - 2)}")
