"""A table of texts to read, of which one column is wrapped where all of it would not be in sight."""

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.widgets import DataTable

_LEAST_CELLS = 16


class WrappedTable(DataTable[Text]):
    """Nothing in it can be chosen.

    Args:
        heads: Of the columns.
        wrapped: The place of the column that is as wide as the others leave room for.
        name: Its id.
    """

    def __init__(self, *heads: str, wrapped: int, name: str) -> None:
        super().__init__(id=name, cursor_type="none", show_cursor=False)
        self._heads, self._wrapped = heads, wrapped
        self._texts: list[tuple[Text, ...]] = []
        self._laid_for = 0

    def fill(self, rows: Sequence[Sequence[str | Text]]) -> None:
        """Shows these rows in the place of those before."""
        self._texts = [tuple(Text(cell) if isinstance(cell, str) else cell for cell in row) for row in rows]
        self._lay_out()

    def on_resize(self, event: events.Resize) -> None:
        """Wraps anew where it got wider or narrower."""
        if event.size.width != self._laid_for:
            self._lay_out()

    def _lay_out(self) -> None:
        self._laid_for = self.size.width
        self.clear(columns=True)
        for head, width in zip(self._heads, self._widths(), strict=True):
            self.add_column(head, width=width)
        for row in self._texts:
            self.add_row(*row, height=None)

    def _widths(self) -> list[int]:
        columns = zip(self._heads, *self._texts, strict=True)
        widths = [max(len(column[0]), *(text.cell_len for text in column[1:])) for column in columns]
        others = sum(widths) - widths[self._wrapped] + 2 * self.cell_padding * len(widths)
        if self._laid_for:
            widths[self._wrapped] = min(widths[self._wrapped], max(self._laid_for - others, _LEAST_CELLS))
        return widths
