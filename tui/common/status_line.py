"""The line of a screen that says what is going on, and how its widgets have something said there."""

from dataclasses import dataclass

from textual.message import Message
from textual.widgets import Static

from edgespec.text import one_line
from tui.common.setting_labels import with_labels


@dataclass
class Told(Message):
    """A widget has something to say in its screen's status line."""

    text: str
    error: bool = False


class StatusLine(Static):
    """Red for what went wrong."""

    def __init__(self, name: str) -> None:
        super().__init__("", id=name, markup=False)

    def tell(self, text: str, *, error: bool = False) -> None:
        """Says it; settings by the labels that the forms have for them."""
        self.set_class(error, "error")
        height = self.styles.height
        # Where the line cannot grow, nothing around it has to be laid out anew.
        self.update(one_line(with_labels(text)), layout=height is not None and height.is_auto)
