"""A benchmark run on stdout, in the format that was asked for; `edgespec bench` and `edgespec results show` share it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edgespec.cli.flags import with_flags
from edgespec.cli.options import option_group
from edgespec.cli.style import result_console
from edgespec.text import plain_text

if TYPE_CHECKING:
    from edgespec.bench.document import Result
    from edgespec.bench.result import BenchResult
    from edgespec.bench.view import OutputFormat

_OUTPUT: Final = (
    click.option(
        "--json",
        "output_format",
        flag_value="json",
        type=str,
        help="Print JSON (docs/bench-json.md, throughput-json.md).",
    ),
    click.option("--csv", "output_format", flag_value="csv", type=str, help="Print CSV."),
    click.option(
        "--markdown", "output_format", flag_value="markdown", type=str, help="Print a Markdown table."
    ),
    click.option(
        "--plot",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Also draw FILE.png or FILE.svg.",
    ),
)


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What was typed of how a run is shown."""

    output_format: "OutputFormat | None"
    """None is a table."""
    plot: Path | None
    """Where it is drawn as well."""

    def check_plot(self) -> None:
        """Looks at the plot's name before anything is done for it.

        Raises:
            UsageError: it ends in neither .png nor .svg, or has no folder that can be written to.
        """
        if self.plot is not None:
            from edgespec.figure import check_plot_path

            check_plot_path(self.plot)


output_options: Final = option_group("output", OutputOptions, _OUTPUT)
"""Adds the options of how a run is shown to a command, which takes them as `output`."""


def show_result(result: "Result", output: OutputOptions, *, quiet: bool = False) -> None:
    """Prints the run; with a plot, draws it as well and says so on stderr.

    Raises:
        UsageError: any of `check_plot`; nothing has been printed then.
    """
    output.check_plot()
    if output.output_format is None:
        _show_table(result, quiet=quiet)
    else:
        from edgespec.bench.view import as_text

        click.echo(as_text(result, output.output_format), nl=False)
    if output.plot is not None:
        from edgespec.bench.view import draw

        draw(result, output.plot)
        if not quiet:
            click.echo(f"plot: {plain_text(str(output.plot))}", err=True)


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
        click.echo(f"note: {with_flags(plain_text(doubt))}", err=True)
