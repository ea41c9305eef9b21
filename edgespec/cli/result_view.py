"""A benchmark run on stdout, in the form that was asked for; `edgespec bench` and `edgespec results show` share it."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgespec.cli.style import result_console
from edgespec.text import plain_text

if TYPE_CHECKING:
    from edgespec.bench.document import Result
    from edgespec.bench.result import BenchResult

Form = Literal["table", "json", "csv", "markdown"]


def show_result(
    result: "Result", form: Form = "table", plot: Path | None = None, *, quiet: bool = False
) -> None:
    """Prints the run; with `plot`, draws it as well and says so on stderr.

    Raises:
        UsageError: the plot's name ends in neither .png nor .svg; nothing has been printed then.
    """
    if plot is not None:
        from edgespec.figure import check_plot_path

        check_plot_path(plot)
    if form == "table":
        _show_table(result, quiet=quiet)
    else:
        from edgespec.bench.view import as_text

        click.echo(as_text(result, form), nl=False)
    if plot is not None:
        from edgespec.bench.view import draw

        draw(result, plot)
        if not quiet:
            click.echo(f"plot: {plain_text(str(plot))}", err=True)


def _show_table(result: "Result", *, quiet: bool) -> None:
    from rich.text import Text

    from edgespec.bench.document import verdict_of
    from edgespec.bench.table import to_ascii
    from edgespec.bench.throughput.result import ThroughputResult
    from edgespec.bench.view import result_parts

    console = result_console()
    state = "" if result.complete else ", not finished"
    title = plain_text(f"{result.target} ({result.run_id}{state})")
    console.print(Text(title, style="bold"))
    for part in result_parts(result, ascii_only=console.options.ascii_only):
        console.print()
        console.print(part)
    sentence = plain_text(verdict_of(result))
    console.print()
    console.print(Text(to_ascii(sentence) if console.options.ascii_only else sentence, style="bold"))
    if not quiet and not isinstance(result, ThroughputResult):
        _show_doubts(result)


def _show_doubts(result: "BenchResult") -> None:
    from edgespec.bench.verdict import doubts

    for doubt in doubts(result):
        click.echo(f"note: {plain_text(doubt)}", err=True)
