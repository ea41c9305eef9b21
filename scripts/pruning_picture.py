"""Draws docs/pruning.png from the first table of docs/pruning.md: perplexity against decoding speed.

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
TICKS = (12, 15, 20, 25, 30, 40, 50, 70, 100, 150, 200, 300, 400)


@dataclass(frozen=True, slots=True)
class Row:
    """A version of a model."""

    model: str
    method: str
    """Empty for the dense model."""
    repaired: bool
    perplexity: float
    speed: float
    """Tokens per second at batch 1, dense = 1."""


def read_rows(page: str) -> Iterator[Row]:
    """The rows of the first table that has a column of speeds; an empty cell means what stands above it."""
    table = page[page.index("| model | cut |") :].split("\n\n")[0].splitlines()[2:]
    model = cut = ""
    for line in table:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        model, cut = cells[0] or model, cells[1] or cut
        method = "" if cut == "dense" else cut.partition(",")[0]
        yield Row(model, method, cells[2].startswith("repair"), float(cells[3]), _first_number(cells[7]))


def _first_number(text: str) -> float:
    found = re.match(r"[\d.]+", text)
    if found is None:
        raise ValueError(f"{text!r} begins with no number")
    return float(found[0])


def draw(rows: list[Row]) -> Figure:
    """A panel for each model."""
    models = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(4.1 * len(models), 4.4), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models)), models, strict=True):
        draw_model(axes, [row for row in rows if row.model == model])
        axes.set_title(model)
    figure.axes[0].set_ylabel("perplexity, WikiText-2")
    figure.axes[0].legend(frameon=False, fontsize=9)
    return figure


def draw_model(axes: Axes, rows: list[Row]) -> None:
    """A line for each method, with and without the repair, from the dense model on."""
    (dense,) = (row for row in rows if not row.method)
    axes.axhline(dense.perplexity, color=GREY, linewidth=0.8)
    for method, colour in COLOURS.items():
        for repaired in (False, True):
            points = [row for row in rows if row.method == method and row.repaired is repaired]
            axes.plot(
                [row.speed for row in (dense, *points)],
                [row.perplexity for row in (dense, *points)],
                color=colour,
                alpha=1.0 if repaired else 0.4,
                linestyle="-" if repaired else "--",
                marker=MARKERS[method],
                markersize=5,
                label=f"{method}, repaired" if repaired else method,
            )
    axes.plot([1], [dense.perplexity], marker="*", markersize=13, color=INK, linestyle="none", label="dense")
    axes.set_yscale("log")
    limits = axes.get_ylim()
    axes.set_yticks([tick for tick in TICKS if limits[0] <= tick <= limits[1]])
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("decoding speed at batch 1, dense = 1")


if __name__ == "__main__":
    page, picture = map(Path, sys.argv[1:])
    rows = list(read_rows(page.read_text(encoding="utf-8")))
    save_figure(lambda: draw(rows), picture)
