"""A benchmark run on stdout, in the form that was asked for; `edgespec bench` and `edgespec results show` share it."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgespec.cli.style import result_console
from edgespec.text import plain_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from edgespec.bench.document import Result
    from edgespec.bench.result import BenchResult
    from edgespec.bench.throughput.result import ThroughputResult

Form = Literal["table", "json", "csv", "markdown"]


def show_result(
    result: "Result", form: Form = "table", plot: Path | None = None, *, quiet: bool = False
) -> None:
    """Prints the run; with `plot`, draws it as well and says so on stderr.

    Raises:
        UsageError: the plot's name ends in neither .png nor .svg; nothing has been printed then.
    """
    if plot is not None:
        from edgespec.bench.plot import check_plot_path

        check_plot_path(plot)
    if form == "table":
        _show_table(result, quiet=quiet)
    else:
        click.echo(_as_text(result, form), nl=False)
    if plot is not None:
        _draw(result, plot)
        if not quiet:
            click.echo(f"plot: {plain_text(str(plot))}", err=True)


def _draw(result: "Result", plot: Path) -> None:
    from edgespec.bench.throughput.result import ThroughputResult

    if isinstance(result, ThroughputResult):
        from edgespec.bench.throughput.plot import save_throughput_plot

        save_throughput_plot([result], plot)
    else:
        from edgespec.bench.plot import save_plot

        save_plot([result], plot)


def _as_text(result: "Result", form: Form) -> str:
    from edgespec.bench.document import to_json
    from edgespec.bench.throughput.result import ThroughputResult

    if form == "json":
        return to_json(result)
    if isinstance(result, ThroughputResult):
        from edgespec.bench.throughput.table import throughput_csv, throughput_markdown

        return plain_text(throughput_csv(result) if form == "csv" else throughput_markdown(result))
    from edgespec.bench.report import to_csv, to_markdown

    return plain_text(to_csv(result) if form == "csv" else to_markdown(result))


def _show_table(result: "Result", *, quiet: bool) -> None:
    from rich.text import Text

    from edgespec.bench.document import verdict_of
    from edgespec.bench.table import to_ascii
    from edgespec.bench.throughput.result import ThroughputResult

    console = result_console()
    state = "" if result.complete else ", not finished"
    title = plain_text(f"{result.target} ({result.run_id}{state})")
    console.print(Text(title, style="bold"))
    if isinstance(result, ThroughputResult):
        parts = _throughput_parts(result, console)
    else:
        parts = _speculative_parts(result)
    for part in parts:
        console.print()
        console.print(part)
    sentence = plain_text(verdict_of(result))
    console.print()
    console.print(Text(to_ascii(sentence) if console.options.ascii_only else sentence, style="bold"))
    if not quiet and not isinstance(result, ThroughputResult):
        _show_doubts(result)


def _speculative_parts(result: "BenchResult") -> list["RenderableType"]:
    from edgespec.bench.bars import render_bars
    from edgespec.bench.table import render_categories, render_table

    if not result.arms:
        return []
    return [render_table(result), render_categories(result), render_bars(result)]


def _throughput_parts(result: "ThroughputResult", console: "Console") -> list["RenderableType"]:
    from edgespec.bench.throughput.table import render_throughput

    return [render_throughput(result, ascii_only=console.options.ascii_only)]


def _show_doubts(result: "BenchResult") -> None:
    from edgespec.bench.verdict import doubts

    for doubt in doubts(result):
        click.echo(f"note: {plain_text(doubt)}", err=True)
