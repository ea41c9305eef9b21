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
    """Red for what went wrong, which takes the rows that it needs: the way out stands at its end."""

    def __init__(self, name: str) -> None:
        super().__init__("", id=name, markup=False)

    @property
    def is_error(self) -> bool:
        """Whether it says what went wrong."""
        return self.has_class("error")

    def tell(self, text: str, *, error: bool = False, whole: bool = False) -> None:
        """Says it; settings by the labels that the forms have for them.

        Args:
            text: In a sentence.
            error: It went wrong.
            whole: It is said in full, in several rows where one is too short; what is said often should not be.
        """
        could_grow = self.has_class("whole")
        self.set_class(error, "error")
        self.set_class(error or whole, "whole")
        height = self.styles.height
        # Where the line cannot grow, nothing around it has to be laid out anew.
        may_grow = could_grow or error or whole or (height is not None and height.is_auto)
        self.update(one_line(with_labels(text)), layout=may_grow)
