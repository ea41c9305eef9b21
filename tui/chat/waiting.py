"""Messages that were sent while an answer came: they wait in sight, can be taken back, and are sent in their order."""

from dataclasses import dataclass
from typing import Final

from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message as TextualMessage
from textual.widgets import Static

from edgespec.text import one_line

_MARK, _REMOVE = " waits  ", "  ✕ "
BETWEEN: Final = "\n\n"
"""What joins messages that become one draft."""


class WaitingMessage(Static):
    """One of them in a line: a click takes it back, one on the cross throws it away."""

    @dataclass
    class Clicked(TextualMessage):
        """It is to be taken out."""

        waiting: "WaitingMessage"
        removes: bool
        """It is not to be written on."""

    def __init__(self, text: str, files: tuple[str, ...]) -> None:
        super().__init__(markup=False, classes="waiting")
        self.files = files
        """That it mentions."""
        self.text = text
        """As it will be sent."""

    def render(self) -> Content:
        """Its beginning."""
        width = max(self.size.width - len(_MARK) - len(_REMOVE), 1)
        body = Content(one_line(self.text)).truncate(width, ellipsis=True, pad=True)
        return Content.assemble(Content.styled(_MARK, "$text-accent"), body, _REMOVE)

    def on_click(self, event: Click) -> None:
        """By mouse."""
        self.post_message(self.Clicked(self, event.x >= self.size.width - len(_REMOVE)))


class WaitingMessages(VerticalScroll, can_focus=False):
    """All of them, the next one first. Hidden while there is none."""

    def __init__(self) -> None:
        super().__init__(id="waiting-messages")
        self._lines: list[WaitingMessage] = []
        self.display = False

    @property
    def texts(self) -> list[str]:
        """What waits, in the order in which it will be sent."""
        return [line.text for line in self._lines]

    def add(self, text: str, files: tuple[str, ...] = ()) -> None:
        """One more, behind the others."""
        line = WaitingMessage(text, files)
        self._lines.append(line)
        self.display = True
        if self.is_attached:
            self.mount(line)
            self.scroll_end(animate=False)

    def take_next(self) -> WaitingMessage | None:
        """The first one, which waits no longer."""
        line = self._lines[0] if self._lines else None
        if line is not None:
            self.take(line)
        return line

    def take_newest(self) -> str:
        """The last one, likewise."""
        return self.take(self._lines[-1]) if self._lines else ""

    def take(self, line: WaitingMessage) -> str:
        """One of them, likewise; empty where it is gone already."""
        if line not in self._lines:
            return ""
        self._lines.remove(line)
        self.display = bool(self._lines)
        if line.is_attached:
            line.remove()
        return line.text

    def clear(self) -> None:
        """None waits any more."""
        while self._lines:
            self.take_newest()
