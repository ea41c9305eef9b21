"""Plain text columns for stdout: the same in a pipe as on a terminal."""

from collections.abc import Sequence

from edgespec.text import one_line


def columns(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()
) -> str:
    """A table without lines: two blanks between columns, the last column as long as its text.

    Args:
        heads: Titles of the columns.
        rows: Cells; control characters in them are made visible.
        right: Numbers of the columns that are flush right.
    """
    table = [[*heads], *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
