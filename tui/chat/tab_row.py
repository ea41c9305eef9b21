"""The row above the conversation that says which ones are open; it takes no room while there is one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from edgespec.text import one_line
from tui.chat.tab_mark import TabMark
from tui.common.shown_key import shown_key

_UNNAMED: Final = "new"
_KEYS: Final = (("chat.next_tab", "next"), ("chat.close_tab", "closes"))
_WIDEST, _NARROWEST = 30, 10
"""Columns of a tab."""


@dataclass(frozen=True, slots=True)
class TabLabel:
    """What the row shows of one."""

    title: str
    mark: TabMark
    is_shown: bool


class TabRow(Static):
    """Each is a link to it."""

    def __init__(self) -> None:
        super().__init__("", id="tab-row", markup=False)
        self._labels: list[TabLabel] = []
        self._hint = ""
        """The keys for them."""
        self.display = False

    def show(self, labels: Sequence[TabLabel]) -> None:
        """Those that are open, in their order."""
        if self._labels != list(labels):
            self._labels = list(labels)
            self.display = len(self._labels) > 1
            keys = ((shown_key(self, name), what) for name, what in _KEYS)
            self._hint = " · ".join(f"{key} {what}" for key, what in keys if key)
            self.refresh()

    def render(self) -> Content:
        """One line."""
        width = self.size.width
        first, texts = row_of(self._labels, width)
        parts = []
        for number, text in enumerate(texts, first + 1):
            is_shown = self._labels[number - 1].is_shown
            part = Content.from_markup(f"[@click=screen.tab({number})]$label[/]", label=text)
            parts.append(part.stylize("bold reverse" if is_shown else "$text-muted"))
        left = Content.assemble(*parts)
        room = width - left.cell_length
        hint = f" {self._hint} " if cell_len(self._hint) + 2 <= room else ""
        return Content.assemble(
            left, " " * max(room - cell_len(hint), 0), Content.styled(hint, "$text-muted")
        )


def row_of(labels: Sequence[TabLabel], width: int) -> tuple[int, list[str]]:
    """As many of the labels as there is room for, the shown one among them.

    Args:
        labels: Of all that are open.
        width: Columns there are.

    Returns:
        Where the first of them stands, and their texts.
    """
    each = min(max(width // max(len(labels), 1), _NARROWEST), _WIDEST)
    room_n = max(width // each, 1)
    shown = next((place for place, label in enumerate(labels) if label.is_shown), 0)
    first = min(max(shown - room_n + 1, 0), max(len(labels) - room_n, 0))
    return first, [
        _text(place + 1, label, each) for place, label in enumerate(labels) if first <= place < first + room_n
    ]


def _text(number: int, label: TabLabel, width: int) -> str:
    """`` 2 title ● ``, at most `width` columns."""
    before, after = f" {number} ", f" {label.mark} " if label.mark else " "
    title = Content(one_line(label.title) or _UNNAMED)
    shown = title.truncate(max(width - cell_len(before) - cell_len(after), 1), ellipsis=True)
    return f"{before}{shown.plain}{after}"
