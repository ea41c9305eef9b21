"""A benchmark run on stdout, in the form that was asked for; `edgespec bench` and `edgespec results show` share it."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgespec.cli.style import plain_text, result_console

if TYPE_CHECKING:
    from edgespec.bench.result import BenchResult

Form = Literal["table", "json", "csv", "markdown"]


def show_result(
    result: "BenchResult", form: Form = "table", plot: Path | None = None, *, quiet: bool = False
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
        from edgespec.bench.plot import save_plot

        save_plot([result], plot)
        if not quiet:
            click.echo(f"plot: {plain_text(str(plot))}", err=True)


def _as_text(result: "BenchResult", form: Form) -> str:
    from edgespec.bench.document import to_json
    from edgespec.bench.report import to_csv, to_markdown

    if form == "json":
        return to_json(result)
    return plain_text(to_csv(result) if form == "csv" else to_markdown(result))


def _show_table(result: "BenchResult", *, quiet: bool) -> None:
    from rich.text import Text

    from edgespec.bench.bars import render_bars
    from edgespec.bench.table import render_categories, render_table, to_ascii
    from edgespec.bench.verdict import doubts, verdict

    console = result_console()
    state = "" if result.complete else ", not finished"
    title = plain_text(f"{result.target} ({result.run_id}{state})")
    console.print(Text(title, style="bold"))
    if result.arms:
        for part in (render_table(result), render_categories(result), render_bars(result)):
            console.print()
            console.print(part)
    sentence = plain_text(verdict(result))
    console.print()
    console.print(Text(to_ascii(sentence) if console.options.ascii_only else sentence, style="bold"))
    for doubt in () if quiet else doubts(result):
        click.echo(f"note: {plain_text(doubt)}", err=True)
