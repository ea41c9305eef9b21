"""Figure 2: a panel per shape, throughput against latency, a curve per model, a point per batch size."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgespec.bench.throughput.result import Curve, Point, ThroughputResult
from edgespec.bench.throughput.shapes import Shape
from edgespec.bench.throughput.summary import points_of, shapes_of
from edgespec.errors import EdgespecError
from edgespec.figure import GREY, INK, PALETTE, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS: Final = ("o", "s", "^", "D", "v", "P")


def save_throughput_plot(results: Sequence[ThroughputResult], path: Path) -> None:
    """Draws runs, a row of panels for each, into `path`; the same runs give the same bytes.

    Raises:
        UsageError: the suffix is neither .png nor .svg.
        EdgespecError: there is nothing to draw, or the file cannot be written (then none is left behind).
    """
    shown = [result for result in results if any(point.runs for point in result.points)]
    if not shown:
        raise EdgespecError("nothing to draw: no point was measured", "give the sweep a larger `budget`")
    save_figure(lambda: _draw(shown), path)


def _draw(results: Sequence[ThroughputResult]) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = max(len(_measured_shapes(result)) for result in results)
    layout = ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.1)
    figure = Figure(figsize=(max(3.9 * columns, 6.4), 3.9 * len(results) + 0.5), layout=layout)
    grid = figure.add_gridspec(len(results), columns)
    for row, result in enumerate(results):
        for column, shape in enumerate(_measured_shapes(result)):
            axes = figure.add_subplot(grid[row, column])
            _draw_panel(axes, result, shape)
            if column == 0:
                axes.set_ylabel("throughput, tokens/s")
            if column == 0:
                axes.legend(loc="lower right", frameon=False, fontsize=8.5)
    return figure


def _measured_shapes(result: ThroughputResult) -> list[Shape]:
    return [s for s in shapes_of(result) if any(point.runs for point in points_of(result, s))]


def _draw_panel(axes: "Axes", result: ThroughputResult, shape: Shape) -> None:
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    for place, curve in enumerate(result.curves):
        points = [point for point in points_of(result, shape, curve) if point.runs]
        if points:
            _draw_curve(axes, points, curve, place)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.1)
    axes.set_xlim(left=0)
    axes.grid(visible=True, axis="both")
    axes.set_xlabel("latency of the batch, s")
    axes.set_title(f"{result.target}, {shape}")


def _draw_curve(axes: "Axes", points: list[Point], curve: Curve, place: int) -> None:
    colour = GREY if place == 0 else PALETTE[(place - 1) % len(PALETTE)]
    axes.plot(
        [point.latency_s for point in points],
        [point.tok_per_s for point in points],
        color=colour,
        marker=_MARKERS[place % len(_MARKERS)],
        markersize=5,
        linewidth=1.8,
        linestyle=(0, (4, 2)) if curve.draft else "-",
        label=curve.name,
    )
    if place == 0:
        for point in points:
            axes.annotate(
                str(point.batch),
                (point.latency_s, point.tok_per_s),
                (4, -11),
                textcoords="offset points",
                fontsize=8,
                color=INK,
            )
