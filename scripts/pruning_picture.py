"""Draws docs/pruning.png from the table of docs/pruning.md: perplexity on both texts against decoding speed.

python scripts/pruning_picture.py docs/pruning.md docs/pruning.png
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from edgespec.figure import GREY, INK, PALETTE, save_figure

COLOURS = {"depth": PALETTE[0], "FLAP": PALETTE[3], "LLM-Pruner": PALETTE[1]}
MARKERS = {"depth": "o", "FLAP": "s", "LLM-Pruner": "^"}
TICKS = (3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100, 150, 200, 300, 400)
TEXTS = {"PPL": "WikiText-2", "own PPL": "own answers"}
"""Columns of the table, and what they were scored on."""


@dataclass(frozen=True, slots=True)
class Row:
    """A version of a model."""

    model: str
    method: str
    """Empty for the dense model."""
    repaired: bool
    perplexity: dict[str, float]
    """By the name of its column, where it was measured."""
    speed: float
    """Tokens per second at batch 1, dense = 1."""


def read_rows(page: str) -> Iterator[Row]:
    """The rows of the table; an empty cell in the first columns means what stands above it."""
    head, _, *lines = page[page.index("| model | cut |") :].split("\n\n")[0].splitlines()
    names = _cells(head)
    model = cut = ""
    for line in lines:
        cells = dict(zip(names, _cells(line), strict=True))
        model, cut = cells["model"] or model, cells["cut"] or cut
        yield Row(
            model,
            "" if cut == "dense" else cut.partition(",")[0],
            cells[""].startswith("repair"),
            {name: float(cells[name]) for name in TEXTS if cells[name] != "–"},
            _first_number(cells["speed"]),
        )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _first_number(text: str) -> float:
    found = re.match(r"[\d.]+", text)
    if found is None:
        raise ValueError(f"{text!r} does not begin with a number")
    return float(found[0])


def draw(rows: list[Row]) -> Figure:
    """A column of panels for each model, a line of them for each text."""
    models = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(4.1 * len(models), 3.9 * len(TEXTS)), layout="constrained")
    panels = figure.subplots(len(TEXTS), len(models), squeeze=False)
    for line, (column, text) in zip(panels, TEXTS.items(), strict=True):
        for axes, model in zip(line, models, strict=True):
            draw_panel(axes, [row for row in rows if row.model == model], column)
        line[0].set_ylabel(f"perplexity, {text}")
    for axes, model in zip(panels[0], models, strict=True):
        axes.set_title(model)
    for axes in panels[-1]:
        axes.set_xlabel("decoding speed at batch 1, dense = 1")
    panels[0][0].legend(frameon=False, fontsize=9)
    return figure


def draw_panel(axes: Axes, rows: list[Row], column: str) -> None:
    """A line for each method, with and without the repair, from the dense model on."""
    (dense,) = (row for row in rows if not row.method)
    axes.axhline(dense.perplexity[column], color=GREY, linewidth=0.8)
    for method, colour in COLOURS.items():
        for repaired in (False, True):
            points = [row for row in rows if row.method == method and row.repaired is repaired]
            points = [dense, *(row for row in points if column in row.perplexity)]
            axes.plot(
                [row.speed for row in points],
                [row.perplexity[column] for row in points],
                color=colour,
                alpha=1.0 if repaired else 0.4,
                linestyle="-" if repaired else "--",
                marker=MARKERS[method],
                markersize=5,
                label=f"{method}, repaired" if repaired else method,
            )
    axes.plot(
        [1], [dense.perplexity[column]], marker="*", markersize=13, color=INK, linestyle="none", label="dense"
    )
    axes.set_yscale("log")
    limits = axes.get_ylim()
    axes.set_yticks([tick for tick in TICKS if limits[0] <= tick <= limits[1]])
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


if __name__ == "__main__":
    page, picture = map(Path, sys.argv[1:])
    rows = list(read_rows(page.read_text(encoding="utf-8")))
    save_figure(lambda: draw(rows), picture)
