"""Runs as a picture: tokens/s by target and arm with the multiple of plain decoding on every bar, and speed-ups by category."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgespec.bench.result import ArmResult, BenchResult
from edgespec.bench.summary import AUTO_ARM, PLAIN_ARM, categories
from edgespec.bench.verdict import multiple_text, rate_text
from edgespec.errors import EdgespecError
from edgespec.figure import GREY, INK, PALETTE, check_plot_path, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FIXED: Final = {PLAIN_ARM: GREY, "ngram": "#e69f00", AUTO_ARM: "#009e73"}
"""Colours of the arms that every run has; the others take theirs from the palette."""
_WIDE_BARS: Final = 4
"""Bars of a category that are wide enough for their figures; above more of them these stand upright."""


def save_plot(results: Sequence[BenchResult], path: Path) -> None:
    """Draw one run, or several against each other by target, into `path`; the same runs give the same bytes.

    Raises:
        UsageError: the suffix is not one of `FORMATS`.
        EdgespecError: there is nothing to draw, or the file cannot be written (then none is left behind).
    """
    shown = [result for result in results if result.arms]
    if not shown:
        check_plot_path(path)
        raise EdgespecError("nothing to draw: no arm has finished", "run `edgespec bench` to the end first")
    save_figure(lambda: _draw(shown), path)


def _draw(results: Sequence[BenchResult]) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = list(dict.fromkeys(arm.name for result in results for arm in result.arms))
    others = [name for name in names if name not in _FIXED]
    colours = _FIXED | {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}
    detailed = [r for r in results if len(categories(r.arms)) > 1 and len(r.arms) > 1]
    bars = sum(len(r.arms) for r in results)
    groups = max((len(categories(r.arms)) for r in detailed), default=0)
    width = min(max(6.4, 1.5 * bars + 1.2 * len(results), 1.3 * groups + 1.5), 20)
    layout = ConstrainedLayoutEngine(h_pad=0.14, w_pad=0.12)
    figure = Figure(figsize=(width, 4.3 + 3.6 * len(detailed)), layout=layout)
    grid = figure.add_gridspec(1 + len(detailed), 1, height_ratios=[1.15] + [1] * len(detailed))
    # A panel of its own per target: one scale does not suit a large and a small model.
    top = grid[0].subgridspec(1, len(results), width_ratios=[len(r.arms) for r in results])
    for column, result in enumerate(results):
        _draw_rates(figure.add_subplot(top[0, column]), result, colours)
    for row, result in enumerate(detailed, 1):
        _draw_categories(figure.add_subplot(grid[row, 0]), result, colours, named=len(results) > 1)
    return figure


def _draw_rates(axes: "Axes", result: BenchResult, colours: dict[str, str]) -> None:
    arms = result.arms
    rates = [arm.tok_per_s for arm in arms]
    places = range(len(arms))
    axes.bar(places, rates, width=0.68, color=[colours[arm.name] for arm in arms])
    tops = [arm.tok_per_s + _finite(arm.tok_per_s_sd) for arm in arms]
    for x, arm in zip(places, arms, strict=True):
        if _finite(arm.tok_per_s_sd):
            axes.errorbar(x, arm.tok_per_s, yerr=arm.tok_per_s_sd, color=INK, capsize=4, linewidth=1.3)
        _label(axes, _multiple(arm), x, tops[x], weight="bold")
    axes.set_ylim(0, max(tops) * 1.14)
    axes.set_xlim(-0.6, len(arms) - 0.4)
    axes.set_xticks(list(places), [_caption(arm) for arm in arms])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("tokens/s, decoding")
    axes.set_title(result.target)


def _draw_categories(axes: "Axes", result: BenchResult, colours: dict[str, str], *, named: bool) -> None:
    names = categories(result.arms)
    arms = [arm for arm in result.arms if arm.name != PLAIN_ARM]
    step = 0.8 / len(arms)
    is_narrow = len(arms) > _WIDE_BARS
    highest = 1.0
    for i, arm in enumerate(arms):
        values = [arm.by_category[n].speedup if n in arm.by_category else math.nan for n in names]
        places = [x + (i - (len(arms) - 1) / 2) * step for x in range(len(names))]
        axes.bar(places, values, width=step * 0.9, color=colours[arm.name], label=arm.name)
        for name, x, value in zip(names, places, values, strict=True):
            if math.isfinite(value):
                highest = max(highest, value)
                text = multiple_text(arm, arm.by_category[name], [name]).removesuffix("x")
                _label(axes, text, x, value, size=8.5, rotation=90 if is_narrow else 0)
    axes.axhline(1.0, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_ylim(0, highest * (1.2 if is_narrow else 1.12))
    axes.set_xlim(-0.55, len(names) - 0.45)
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("multiple of plain decoding")
    axes.set_title("Speed-up by category" + (f", {result.target}" if named else ""))
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=len(arms), frameon=False, borderaxespad=0
    )


def _label(axes: "Axes", text: str, x: float, y: float, **style: Any) -> None:
    """Text three points above (x, y)."""
    axes.annotate(text, (x, y), (0, 3), textcoords="offset points", ha="center", color=INK, **style)


def _multiple(arm: ArmResult) -> str:
    return multiple_text(arm) if math.isfinite(arm.speedup) else ""


def _caption(arm: ArmResult) -> str:
    """The arm's name and rate, a long name broken at a hyphen."""
    import textwrap

    name = "\n".join(textwrap.wrap(arm.name, 19)) or "?"
    return f"{name}\n{rate_text(arm.tok_per_s)} tok/s"


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
