"""Predictions as a picture, as figure 1 draws measurements: a panel per target and machine, a bar per draft."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgespec.figure import GREY, INK, PALETTE, save_figure
from edgespec.plan.prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS_PER_ROW = 4


def save_plan_plot(predictions: Sequence[Prediction], path: Path) -> None:
    """Draws predictions into `path`.

    Raises:
        UsageError: the suffix is neither .png nor .svg.
        EdgespecError: the file cannot be written; none is left behind.
    """
    save_figure(lambda: _draw(predictions), path)


def _draw(predictions: Sequence[Prediction]) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = sorted({row.name for one in predictions for row in one.drafts})
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    columns = min(len(predictions), _PANELS_PER_ROW)
    rows = -(-len(predictions) // columns)
    layout = ConstrainedLayoutEngine(h_pad=0.14, w_pad=0.12)
    figure = Figure(figsize=(max(4.6 * columns, 6.4), 4.4 * rows), layout=layout)
    for place, one in enumerate(predictions):
        _draw_panel(figure.add_subplot(rows, columns, place + 1), one, colours)
    return figure


def _draw_panel(axes: "Axes", one: Prediction, colours: dict[str, str]) -> None:
    bars = [("plain", one.tok_per_s, 1.0, GREY)]
    bars += [(row.name, row.tok_per_s, row.speedup, colours[row.name]) for row in one.drafts]
    axes.bar(range(len(bars)), [bar[1] for bar in bars], width=0.68, color=[bar[3] for bar in bars])
    for x, (_, rate, speedup, _) in enumerate(bars):
        axes.annotate(
            f"{speedup:.2f}x",
            (x, rate),
            (0, 3),
            textcoords="offset points",
            ha="center",
            color=INK,
            weight="bold",
        )
    axes.set_xlim(-0.6, len(bars) - 0.4)
    axes.set_ylim(0, max(bar[1] for bar in bars) * 1.14)
    axes.set_xticks(range(len(bars)), [f"{name}\n{rate:.3g} tok/s" for name, rate, _, _ in bars])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("tokens/s, predicted")
    axes.set_title(f"{one.target.name}, {one.target.quantization}\non {one.machine}")
