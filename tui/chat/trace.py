"""A row of bars as wide as its place, from 0 up: Textual's own begins at the lowest value, and draws a steady one as nothing."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.text import Text
from textual.widget import Widget

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"


class Trace(Widget):
    """The newest value at the right; a few values share the columns.

    Args:
        name: Its id.
        top: The value that fills the height; None takes the highest of those that are shown.
    """

    def __init__(self, name: str, top: float | None = None) -> None:
        super().__init__(id=name, classes="trace")
        self._top = top
        self._values: tuple[float, ...] = ()

    def show(self, values: Iterable[float]) -> None:
        """Draws these."""
        self._values = tuple(values)
        self.refresh()

    def render(self) -> Text:
        """Rows of blocks, an eighth of a row being the least that is seen."""
        width, height = self.size
        shares = columns_of(self._values, width, self._top)
        units = [round(share * height * (len(_EIGHTHS) - 1)) for share in shares]
        rows = range(height - 1, -1, -1)
        return Text("\n".join("".join(_block(unit, row) for unit in units) for row in rows), no_wrap=True)


def columns_of(values: Sequence[float], width: int, top: float | None = None) -> list[float]:
    """The height of every column, 0 to 1: the newest values, or each value in several columns.

    Args:
        values: From 0 on.
        width: Columns.
        top: The value that has height 1; None takes the highest.
    """
    shown = values[-width:] if width > 0 else ()
    if not shown:
        return []
    most = top or max(*shown, 1e-9)
    return [min(1.0, shown[column * len(shown) // width] / most) for column in range(width)]


def _block(units: int, row: int) -> str:
    return _EIGHTHS[min(max(units - row * (len(_EIGHTHS) - 1), 0), len(_EIGHTHS) - 1)]
