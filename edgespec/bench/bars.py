"""The bar chart of a run in a terminal: tokens/s of every arm, with its multiple of plain decoding above the bar."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from edgespec.bench.result import ArmResult, BenchResult
from edgespec.bench.table import colour_of, printable, to_ascii
from edgespec.bench.verdict import multiple_text, rate_text

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_HEIGHT: Final = 10
_AXIS_WIDTH: Final = 8
_SLOT_WIDTHS: Final = (9, 16)
"""Columns of a bar with the space beside it: at least, and at most."""
_BAR_WIDTH: Final = 8
_NAME_LINES: Final = 3
_NICE: Final = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def render_bars(result: BenchResult, *, height: int = _HEIGHT) -> RenderableType:
    """The chart; it takes the console's width and encoding as they are, in several rows when the arms are many.

    Args:
        result: The run.
        height: Lines of the highest bar, at least 2.
    """
    return _Bars(result, height)


def nice_ceiling(value: float) -> float:
    """The smallest round number (1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten) that is not below `value`."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((n * power for n in _NICE if n * power >= value), 10 * power)


@dataclass(frozen=True, slots=True)
class _Bars:
    result: BenchResult
    height: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        arms = self.result.arms
        if not arms:
            return
        width = max(options.max_width - _AXIS_WIDTH, _SLOT_WIDTHS[0])
        per_row = min(width // _SLOT_WIDTHS[0], len(arms))
        slot = min(width // per_row, _SLOT_WIDTHS[1])
        top = nice_ceiling(max(arm.tok_per_s for arm in arms))
        title = printable(f"{self.result.target}, tok/s")
        yield Text(to_ascii(title) if options.ascii_only else title, style="bold")
        for start in range(0, len(arms), per_row):
            yield from _Panel(
                arms[start : start + per_row], slot, top, self.height, options.ascii_only
            ).lines()


@dataclass(frozen=True, slots=True)
class _Panel:
    """One row of bars on a common axis."""

    arms: Sequence[ArmResult]
    slot: int
    """Columns for each arm."""
    top: float
    """tok/s at the upper end of the axis."""
    height: int
    ascii_only: bool

    def lines(self) -> list[Text]:
        # One line more than the bars are high: the label of the highest bar stands there.
        rows = [self._line(row) for row in range(self.height, -1, -1)]
        corner, dash = ("+", "-") if self.ascii_only else ("└", "─")
        axis = f"{0:>{_AXIS_WIDTH - 2}} " + corner + dash * (self.slot * len(self.arms))
        return [*rows, Text(axis, no_wrap=True), *self._captions()]

    def _line(self, row: int) -> Text:
        line = Text(self._tick(row), no_wrap=True, overflow="crop")
        for arm in self.arms:
            line.append(self._piece(arm, row).center(self.slot), style=colour_of(arm))
        line.rstrip()
        return line

    def _tick(self, row: int) -> str:
        # A mark is in the middle of its line, half a line below the top of a bar of that height, as the zero is.
        marks = {self.height - 1: self.top, self.height // 2 - 1: self.top / 2}
        if row in marks:
            return f"{marks[row]:>{_AXIS_WIDTH - 2}.4g} " + ("+" if self.ascii_only else "┤")
        return " " * (_AXIS_WIDTH - 1) + ("|" if self.ascii_only else "│")

    def _piece(self, arm: ArmResult, row: int) -> str:
        eighths = self._eighths(arm)
        width = min(_BAR_WIDTH, self.slot - 2)
        label_row = -(-eighths // 8)
        if row == label_row:
            return multiple_text(arm)
        filled = min(max(eighths - 8 * row, 0), 8)
        return ("#" if filled else " ") * width if self.ascii_only else _EIGHTHS[filled] * width

    def _eighths(self, arm: ArmResult) -> int:
        """Height of the bar in eighths of a line; whole lines where there are no partial blocks, never nothing."""
        height = arm.tok_per_s / self.top * self.height
        return max(8 * round(height), 8) if self.ascii_only else max(round(8 * height), 1)

    def _captions(self) -> list[Text]:
        names = [self._wrapped(arm.name) for arm in self.arms]
        deepest = max(len(name) for name in names)
        lines = [[name[i] if i < len(name) else "" for name in names] for i in range(deepest)]
        lines.append([rate_text(arm.tok_per_s) for arm in self.arms])
        return [
            Text(
                (" " * _AXIS_WIDTH + "".join(cell.center(self.slot) for cell in line)).rstrip(), no_wrap=True
            )
            for line in lines
        ]

    def _wrapped(self, name: str) -> list[str]:
        text = to_ascii(printable(name)) if self.ascii_only else printable(name)
        return textwrap.wrap(
            text, self.slot - 1, max_lines=_NAME_LINES, placeholder="..", break_on_hyphens=True
        ) or ["?"]
