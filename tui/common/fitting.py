"""Figures in a row: whole ones, as many as there is room for."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len

BETWEEN: Final = " · "


def fitting(parts: Sequence[str], width: int) -> str:
    """As many of the parts as a row of that width holds, the first of them in any case."""
    shown = list(parts[:1])
    for part in parts[1:]:
        if cell_len(BETWEEN.join([*shown, part])) > width:
            break
        shown.append(part)
    return BETWEEN.join(shown)
