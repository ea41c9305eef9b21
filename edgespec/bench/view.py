"""A run as parts for a terminal, as text of any format, and as a file; the command line and the app share it."""

from pathlib import Path
from typing import Final, Literal

from rich.console import RenderableType

from edgespec.bench.bars import render_bars
from edgespec.bench.compare import ComparedArm
from edgespec.bench.document import Result, to_json
from edgespec.bench.report import to_csv, to_markdown
from edgespec.bench.statistics import Estimate
from edgespec.bench.table import render_categories, render_table
from edgespec.bench.throughput.result import ThroughputResult
from edgespec.bench.throughput.table import render_throughput, throughput_csv, throughput_markdown
from edgespec.bench.verdict import deciding_arm, rate_text, speedup_text, with_error
from edgespec.errors import EdgespecError, UsageError
from edgespec.files import written_whole
from edgespec.text import plain_text

OutputFormat = Literal["json", "csv", "markdown"]
"""What a run is written as, besides tables for a terminal."""
COMPARISON_HEADS: Final = (
    "ARM",
    "BEFORE TOK/S",
    "AFTER TOK/S",
    "TOK/S RATIO",
    "SPEED-UP RATIO",
    "SHARED PROMPTS",
)
_FORMATS: Final[dict[str, OutputFormat]] = {".json": "json", ".csv": "csv", ".md": "markdown"}


def result_parts(result: Result, *, ascii_only: bool = False) -> list[RenderableType]:
    """Tables and chart of a run, without its title and its verdict."""
    if isinstance(result, ThroughputResult):
        return [render_throughput(result, ascii_only=ascii_only)]
    return [render_table(result), render_categories(result), render_bars(result)] if result.arms else []


def arms_and_speedup(result: Result) -> tuple[str, str]:
    """For a list of runs: how many arms or curves there are, and what the run found in a word."""
    if isinstance(result, ThroughputResult):
        return str(len(result.curves)), "throughput"
    arm = deciding_arm(result)
    return str(len(result.arms)), f"{arm.name} {speedup_text(arm)}" if arm else "-"


def comparison_row(row: ComparedArm) -> list[str]:
    """Cells under `COMPARISON_HEADS`."""
    return [
        row.name,
        rate_text(row.before.tok_per_s) if row.before else "-",
        rate_text(row.after.tok_per_s) if row.after else "-",
        _ratio_text(row.tok_per_s_ratio),
        _ratio_text(row.speedup_ratio),
        str(row.shared_prompts),
    ]


def as_text(result: Result, output_format: OutputFormat) -> str:
    """The run in that format; JSON is escaped already, the others are made harmless for a terminal."""
    if output_format == "json":
        return to_json(result)
    if isinstance(result, ThroughputResult):
        return plain_text(throughput_csv(result) if output_format == "csv" else throughput_markdown(result))
    return plain_text(to_csv(result) if output_format == "csv" else to_markdown(result))


def draw(result: Result, plot: Path) -> None:
    """Draws figure 1 of a speculative run, figure 2 of a sweep.

    Raises:
        UsageError: the name ends in neither .png nor .svg.
    """
    if isinstance(result, ThroughputResult):
        from edgespec.bench.throughput.plot import save_throughput_plot

        save_throughput_plot([result], plot)
    else:
        from edgespec.bench.plot import save_plot

        save_plot([result], plot)


def export(result: Result, path: Path) -> None:
    """Writes the run in the format that the name's ending says, never over a file that is there.

    Raises:
        UsageError: another ending than .json, .csv, .md, .png or .svg.
        EdgespecError: the file exists, or cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in (*_FORMATS, ".png", ".svg"):
        raise UsageError(f"{path.name} has no known ending", "name it .json, .csv, .md, .png or .svg")
    if path.exists():
        raise EdgespecError(f"{path} exists", "move it away or delete it first")
    try:
        if suffix in _FORMATS:
            with written_whole(path, make_folder=False) as unfinished:
                unfinished.write_text(as_text(result, _FORMATS[suffix]), encoding="utf-8", newline="\n")
        else:
            draw(result, path)
    except OSError as error:
        raise EdgespecError(f"{path} cannot be written: {error.strerror or error}") from error


def _ratio_text(ratio: Estimate) -> str:
    return with_error(ratio.value, ratio.sd, digits=2, unit="x")
