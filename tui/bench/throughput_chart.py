"""Figure 2 in the terminal: throughput against latency, a curve for each model, one shape at a time."""

import math
from collections.abc import Sequence
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import MouseScrollDown, MouseScrollUp
from textual.widgets import Static
from textual_plot import HiResMode, LegendLocation
from textual_plot.axis_formatter import AxisFormatter

from edgespec.bench.throughput.result import Point, ThroughputResult
from edgespec.bench.throughput.summary import points_of, shapes_of
from edgespec.text import one_line
from tui.common.plot import Plot

_COLOURS: Final = ("cyan", "green", "yellow", "magenta", "red", "blue")
_MARKERS: Final = "ox+*#@"
"""Curves are told apart without colour, too."""
_TENTHS: Final = tuple(range(10, 100))
_STEPS: Final = (
    tuple(step / 100 for step in range(100, 1000)),
    tuple(step / 100 for step in range(100, 1000, 2)),
    tuple(step / 100 for step in range(100, 1000, 5)),
    tuple(step / 10 for step in _TENTHS),
    tuple(step / 10 for step in _TENTHS[::2]),
    tuple(step / 10 for step in _TENTHS[::5]),
    (1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 5, 7),
    (1, 2, 5),
    (1,),
)
"""Times a power of ten; the first ones that are few enough are labelled."""
_MARGIN: Final = 0.05
"""Of an axis, kept free at both ends."""
_LEAST_AIR: Final = 0.01
"""So that even a single point has numbers beside it."""
_LONGEST_NAME: Final = 32


class LogAxis(AxisFormatter):
    """Labels logarithms to base 10 with the numbers that they stand for, at `most` round ones."""

    def __init__(self, most: int) -> None:
        self._most = most

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        """Places of round numbers between the limits."""
        powers = range(math.floor(min_), math.ceil(max_) + 1)
        found: list[float] = []
        for steps in _STEPS:
            places = [power + math.log10(step) for power in powers for step in steps]
            found = [place for place in places if min_ <= place <= max_]
            if len(found) <= min(self._most, max_ticks):
                break
        return found[:max_ticks]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """The numbers, three digits at most."""
        return [f"{float(f'{10**tick:.3g}'):g}" for tick in ticks]


class _StillPlot(Plot, can_focus=False):
    """A picture to look at: keys and the wheel belong to the screen."""

    @on(MouseScrollDown)
    @on(MouseScrollUp)
    def _leave_to_the_screen(self, event: MouseScrollDown | MouseScrollUp) -> None:
        event.prevent_default()


class ThroughputChart(Vertical):
    """Draws a sweep; both axes are logarithms to base 10, as in the published figure."""

    def __init__(self) -> None:
        super().__init__(id="throughput-chart")
        self._result: ThroughputResult | None = None
        self._place = 0

    def compose(self) -> ComposeResult:
        """Title and plot."""
        yield Static("", classes="chart-title", markup=False)
        yield _StillPlot(allow_pan_and_zoom=False)

    def show(self, result: ThroughputResult) -> None:
        """Another sweep, from its first shape on."""
        self._result, self._place = result, 0
        self._draw()

    def next_shape(self) -> None:
        """The next shape, in a circle."""
        self._place += 1
        self._draw()

    def _draw(self) -> None:
        plot = self.query_one(_StillPlot)
        plot.clear()
        result = self._result
        shapes = shapes_of(result) if result is not None else ()
        if result is None or not shapes:
            self.query_one(Static).update("nothing was measured", layout=False)
            return
        place = self._place % len(shapes)
        shape = shapes[place]
        more = f" · shape {place + 1} of {len(shapes)}, x: next" if len(shapes) > 1 else ""
        self.query_one(Static).update(f"{shape.prompt_n} tokens in, {shape.output_n} out{more}", layout=False)
        curves = [(curve.name, _drawn(points_of(result, shape, curve))) for curve in result.curves]
        for number, (name, points) in enumerate(curves):
            self._draw_curve(number, name, points)
        self._set_axes([point for _, points in curves for point in points])
        plot.show_legend(LegendLocation.BOTTOMRIGHT)

    def _draw_curve(self, number: int, name: str, points: Sequence[Point]) -> None:
        if not points:
            return
        plot, colour = self.query_one(_StillPlot), _COLOURS[number % len(_COLOURS)]
        x = [math.log10(point.latency_s) for point in points]
        y = [math.log10(point.tok_per_s) for point in points]
        plot.plot(x, y, line_style=colour, hires_mode=HiResMode.BRAILLE)
        marker, label = _MARKERS[number % len(_MARKERS)], one_line(name)[:_LONGEST_NAME]
        plot.scatter(x, y, marker=marker, marker_style=colour, label=label)

    def _set_axes(self, points: Sequence[Point]) -> None:
        plot = self.query_one(_StillPlot)
        if not points:
            return
        plot.set_xlimits(*_limits([math.log10(point.latency_s) for point in points]))
        plot.set_ylimits(*_limits([math.log10(point.tok_per_s) for point in points]))
        plot.set_x_formatter(LogAxis(8))
        plot.set_y_formatter(LogAxis(5))
        plot.set_xlabel("latency, s")
        plot.set_ylabel("tok/s")


def _drawn(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if point.runs and point.latency_s > 0 and point.tok_per_s > 0]


def _limits(places: Sequence[float]) -> tuple[float, float]:
    """Of an axis: from the least to the greatest, and some air."""
    air = max((max(places) - min(places)) * _MARGIN, _LEAST_AIR)
    return min(places) - air, max(places) + air
