"""What the lists share: columns as wide as their texts from the first paint on."""

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import DataTable


def fit_columns(table: DataTable[Text], rows: Sequence[Sequence[Text]]) -> None:
    """Widths beforehand: the table's own come after its first paint, and then the heads may stay as narrow as they were."""
    for place, column in enumerate(table.ordered_columns):
        column.content_width = max(column.label.cell_len, *(row[place].cell_len for row in rows), 0)
