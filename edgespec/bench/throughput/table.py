"""A table per shape for a terminal, and the same as CSV and Markdown."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from edgespec.bench.report import csv_cell, escape, markdown_table, number
from edgespec.bench.table import plain_table, printable, to_ascii
from edgespec.bench.throughput.result import Curve, Point, ThroughputResult
from edgespec.bench.throughput.shapes import Shape
from edgespec.bench.throughput.summary import points_of, shapes_of
from edgespec.bench.throughput.verdict import throughput_verdict
from edgespec.bench.verdict import with_error

CSV_COLUMNS: Final = (
    "run_id", "curve", "method", "draft", "prompt_n", "output_n", "batch", "layout", "runs", "latency_s", "latency_s_sd",
    "tok_per_s", "tok_per_s_sd", "ttft_s", "speedup", "speedup_sd", "acceptance", "python_share",
    "predicted_memory_bytes", "memory_bytes", "perplexity", "kl_mean", "left_out",
)  # fmt: skip
"""The head of the CSV; names and units are those of the JSON."""


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cell: Callable[[Point, Curve], str]


_COLUMNS: Final = (
    _Column("batch", lambda point, _curve: str(point.batch)),
    _Column("model", lambda point, _curve: point.curve),
    _Column("latency s", lambda point, _curve: number(point.latency_s, 2)),
    _Column("tok/s", lambda point, _curve: with_error(point.tok_per_s, point.tok_per_s_sd, digits=1)),
    _Column("x", lambda point, _curve: number(point.speedup, 2)),
    _Column("TTFT s", lambda point, _curve: number(point.ttft_s, 2)),
    _Column("MiB", lambda point, _curve: number(point.memory_bytes or None, 0, 1 / 2**20)),
    _Column("PPL", lambda _point, curve: number(curve.quality.perplexity if curve.quality else None, 1)),
)


def render_throughput(result: ThroughputResult, *, ascii_only: bool) -> RenderableType:
    """The tables of all shapes, with what was left out and why under each."""
    parts: list[RenderableType] = []
    for shape in shapes_of(result):
        parts += [Text(f"{shape}: {shape.prompt_n} tokens in, {shape.output_n} out", style="bold")]
        parts += [_shape_table(result, shape, ascii_only), *_left_out(result, shape), Text()]
    return Group(*parts[:-1])


def throughput_csv(result: ThroughputResult) -> str:
    """A row for every point; an unknown number is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for point, curve in (row for shape in shapes_of(result) for row in _rows(result, shape)):
        quality = curve.quality
        own = {
            "run_id": result.run_id,
            "method": curve.method,
            "draft": curve.draft,
            "runs": len(point.runs),
            "perplexity": quality.perplexity if quality else None,
            "kl_mean": quality.kl_mean if quality else None,
        }
        writer.writerow(
            [csv_cell(own[name] if name in own else getattr(point, name)) for name in CSV_COLUMNS]
        )
    return text.getvalue()


def throughput_markdown(result: ThroughputResult) -> str:
    """A table per shape, and the verdict."""
    parts = [f"**{escape(result.target)}**: {escape(throughput_verdict(result))}"]
    head = tuple((column.title, "---" if column.title == "model" else "---:") for column in _COLUMNS)
    for shape in shapes_of(result):
        rows = [
            [column.cell(point, curve) for column in _COLUMNS]
            for point, curve in _rows(result, shape)
            if point.runs
        ]
        parts += [f"{shape}:", markdown_table(head, rows)]
    return "\n\n".join(parts) + "\n"


def _rows(result: ThroughputResult, shape: Shape) -> list[tuple[Point, Curve]]:
    curves = {curve.name: curve for curve in result.curves}
    return [(point, curves[point.curve]) for point in points_of(result, shape)]


def _shape_table(result: ThroughputResult, shape: Shape, ascii_only: bool) -> RenderableType:
    table = plain_table([column.title for column in _COLUMNS], left=frozenset({1}))
    last = 0
    for point, curve in _rows(result, shape):
        if not point.runs:
            continue
        cells = [printable(column.cell(point, curve)) for column in _COLUMNS]
        if point.batch == last:
            cells[0] = ""
        last = point.batch
        table.add_row(*(Text(to_ascii(cell) if ascii_only else cell) for cell in cells))
    return table


def _left_out(result: ThroughputResult, shape: Shape) -> list[Text]:
    """A line for each reason at each batch size, with whom it concerns where that is not everybody."""
    whose: dict[tuple[int, str], list[str]] = {}
    for point in points_of(result, shape):
        if point.left_out and not point.runs:
            whose.setdefault((point.batch, point.left_out), []).append(point.curve)
    lines = []
    for (batch, reason), names in whose.items():
        concerned = "" if len(names) == len(result.curves) else f", {', '.join(names)}"
        lines.append(Text(printable(f"batch {batch}{concerned}: left out, {reason}"), style="dim"))
    return lines
