"""Saved runs as rows of a list, and as views of one run or of two."""

from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from edgespec.bench.bars import render_bars
from edgespec.bench.compare import compare
from edgespec.bench.document import Result, verdict_of
from edgespec.bench.result import BenchResult
from edgespec.bench.store import Entry
from edgespec.bench.table import plain_table, render_categories, render_table
from edgespec.bench.throughput.result import ThroughputResult
from edgespec.bench.verdict import doubts
from edgespec.bench.view import COMPARISON_HEADS, arms_and_speedup, comparison_row, result_parts
from edgespec.text import one_line, plain_text
from tui.common.setting_labels import with_labels
from tui.common.wording import local_time

HEADS: Final = ("date", "target", "measured", "state", "found")
_COMPARED: Final = (
    "Above 1.00x the later run is faster. The speed-up ratio does not depend on how busy the machine was."
)


def row_of(entry: Entry, *, marked: bool) -> list[Text]:
    """Cells under `HEADS`."""
    date = local_time(entry.result.started_at) if entry.result is not None else ""
    return [Text(f"{'*' if marked else ' '} {one_line(date or entry.run_id)}"), *map(Text, _cells(entry))]


def _cells(entry: Entry) -> list[str]:
    result = entry.result
    if result is None:
        return ["?", "?", "damaged", one_line(entry.damage)]
    count, found = arms_and_speedup(result)
    kind = "arms"
    if isinstance(result, ThroughputResult):
        kind, found = "curves", verdict_of(result)
    state = "done" if result.complete else "not finished"
    return [one_line(result.target), f"{count} {kind}", state, one_line(found)]


def view_of(result: Result, *, bar_height: int) -> RenderableType:
    """Title, verdict, figures and doubts of a run; a sweep's curves are drawn beside it."""
    state = "" if result.complete else ", not finished"
    date = local_time(result.started_at)
    title = one_line(f"{result.target} ({result.run_id}{state}{f', begun {date}' if date else ''})")
    shown: list[RenderableType] = [
        Text(title, style="bold"),
        Text(one_line(verdict_of(result)), style="bold"),
        Text(),
    ]
    for part in _parts(result, bar_height):
        shown += [part, Text()]
    if isinstance(result, BenchResult):
        shown += [Text(f"note: {one_line(with_labels(doubt))}", style="dim") for doubt in doubts(result)]
    return Group(*shown)


def _parts(result: Result, bar_height: int) -> list[RenderableType]:
    """The bars come first: they are what a small screen has room for."""
    if isinstance(result, ThroughputResult):
        return result_parts(result)
    if not result.arms:
        return []
    return [render_bars(result, height=bar_height), render_table(result), render_categories(result)]


def damage_of(entry: Entry) -> RenderableType:
    """Why there is nothing to show, and what can be done."""
    return Text(plain_text(f"{entry.path} is damaged: {with_labels(entry.damage)}\n\nd deletes it."))


def comparison_of(before: BenchResult, after: BenchResult) -> RenderableType:
    """Two runs, arm by arm; heads of two lines leave room for the arms' names on a narrow screen."""
    table = plain_table(COMPARISON_HEADS)
    for column, head in zip(table.columns, COMPARISON_HEADS, strict=True):
        column.header = Text(head.replace(" ", "\n"))
    for row in compare(before, after):
        table.add_row(*(Text(one_line(cell)) for cell in comparison_row(row)))
    heads = [
        Text(f"{word:<6} {one_line(f'{run.run_id} {run.target}')}")
        for word, run in (("before", before), ("after", after))
    ]
    return Group(*heads, Text(), table, Text(), Text(_COMPARED, style="dim"))
