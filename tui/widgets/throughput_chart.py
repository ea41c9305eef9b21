"""Figure 2 in the terminal: throughput against latency, a curve for each model, one shape at a time."""

import math
from collections.abc import Sequence
from typing import Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static
from textual_plot import HiResMode, PlotWidget
from textual_plot.axis_formatter import AxisFormatter

from edgespec.bench.throughput.result import ThroughputResult
from edgespec.bench.throughput.shapes import Shape
from edgespec.bench.throughput.summary import points_of, shapes_of
from edgespec.text import one_line

_COLOURS: Final = ("cyan", "green", "yellow", "magenta", "red", "blue")


class LogAxis(AxisFormatter):
    """Labels logarithms to base 10 with the numbers that they stand for: 1, 2, 3, 5 and 7 times a power of ten."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        """Places of round numbers between the limits."""
        powers = range(math.floor(min_), math.ceil(max_) + 1)
        round_ones = [power + math.log10(step) for power in powers for step in (1, 2, 3, 5, 7)]
        return [place for place in round_ones if min_ <= place <= max_][:max_ticks]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """The numbers, three digits at most."""
        return [f"{10**tick:.3g}" for tick in ticks]


class ThroughputChart(Vertical):
    """Draws a sweep; both axes are logarithms to base 10, as in the published figure."""

    def __init__(self) -> None:
        super().__init__(id="throughput-chart")
        self._result: ThroughputResult | None = None
        self._place = 0

    def compose(self) -> ComposeResult:
        """Title and plot."""
        yield Static("", classes="chart-title", markup=False)
        yield PlotWidget(allow_pan_and_zoom=False)

    def show(self, result: ThroughputResult) -> None:
        """Another sweep, from its first shape on."""
        self._result, self._place = result, 0
        self._draw()

    def next_shape(self) -> None:
        """The next shape, in a circle."""
        self._place += 1
        self._draw()

    def _draw(self) -> None:
        plot = self.query_one(PlotWidget)
        plot.clear()
        result = self._result
        shapes = shapes_of(result) if result is not None else ()
        if result is None or not shapes:
            return
        shape = shapes[self._place % len(shapes)]
        more = f"  (x: next of {len(shapes)} shapes)" if len(shapes) > 1 else ""
        title = f"{shape.prompt_n} tokens in, {shape.output_n} out: tok/s against latency in s, batch sizes along a curve"
        self.query_one(Static).update(one_line(title) + more, layout=False)
        for place, curve in enumerate(result.curves):
            found = [
                p for p in points_of(result, shape, curve) if p.runs and p.latency_s > 0 and p.tok_per_s > 0
            ]
            x = [math.log10(point.latency_s) for point in found]
            y = [math.log10(point.tok_per_s) for point in found]
            colour = _COLOURS[place % len(_COLOURS)]
            if len(found) > 1:
                plot.plot(x, y, line_style=colour, hires_mode=HiResMode.BRAILLE, label=one_line(curve.name))
            if found:
                plot.scatter(
                    x, y, marker_style=colour, label=None if len(found) > 1 else one_line(curve.name)
                )
        self._label_axes(plot, result, shape)
        plot.show_legend()

    def _label_axes(self, plot: PlotWidget, result: ThroughputResult, shape: Shape) -> None:
        points = [p for curve in result.curves for p in points_of(result, shape, curve) if p.runs]
        if not points:
            return
        plot.set_x_formatter(LogAxis())
        plot.set_y_formatter(LogAxis())
        plot.set_xlabel("latency, s")
        plot.set_ylabel("tok/s")
