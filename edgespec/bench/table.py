"""The tables of a run for a terminal; they fit 80 columns and terminals that know only ASCII."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from edgespec.bench.category_rows import COPIED, HEAD, CategoryRow, category_rows, compared_arms
from edgespec.bench.report import number
from edgespec.bench.result import ArmResult, BenchResult
from edgespec.bench.statistics import Estimate
from edgespec.bench.summary import PLAIN_ARM, has_thoughts, is_plain
from edgespec.bench.verdict import speedup_text, with_error

FASTER, SLOWER, SAME, PLAIN = "green", "red", "yellow", "cyan"
"""Colours by what an arm is worth; the same in the bars."""


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cell: Callable[[ArmResult], str]


_NAME: Final = _Column("arm", lambda arm: arm.name)
_SPEED: Final = (
    _Column("tok/s", lambda arm: with_error(arm.tok_per_s, arm.tok_per_s_sd, digits=2)),
    _Column("speed-up", speedup_text),
    _Column("accepted", lambda arm: _percent(arm.acceptance)),
    _Column("length", lambda arm: number(arm.mean_accepted_len, 2)),
)
_THOUGHT: Final = _Column("thought", lambda arm: _percent(arm.thought_share))
"""Shown of models that think."""
_COST: Final = (
    _Column("TTFT s", lambda arm: number(arm.ttft_s, 2)),
    _Column("prompt t/s", lambda arm: number(arm.prompt_tok_per_s, 0)),
    _Column("t_d ms", lambda arm: number(arm.t_d_s, 1, 1e3)),
    _Column("draft", lambda arm: _percent(arm.draft_time_share)),
    _Column("verify", lambda arm: _percent(arm.verify_time_share)),
    _Column("policy", lambda arm: _percent(arm.policy_time_share, digits=1)),
    _Column("peak MiB", lambda arm: number(arm.peak_memory_bytes or None, 0, 1 / 2**20)),
)


def render_table(result: BenchResult) -> RenderableType:
    """The arms with all their figures: one table where it fits, two under each other where it does not."""
    return _ArmTable(result)


def render_categories(result: BenchResult) -> RenderableType:
    """Speed-up by category: a row per category, a column per arm; empty for a run with one category.

    Arms that do not fit beside the others stand in a table below.
    """
    rows = category_rows(result)
    return _CategoryTable(rows, compared_arms(result)) if rows else Text("", end="")


def colour_of(arm: ArmResult) -> str:
    """Whether the arm is faster or slower than plain decoding beyond its error; one that drafted nothing is neither."""
    if arm.name == PLAIN_ARM:
        return PLAIN
    if is_plain(arm) or not Estimate(arm.speedup, arm.speedup_sd).differs_from(1.0):
        return SAME
    return FASTER if arm.speedup > 1 else SLOWER


def printable(text: str) -> str:
    """The text with every character that does not print, such as ESC, as a question mark."""
    return "".join(c if c.isprintable() else "?" for c in text)


def to_ascii(text: str) -> str:
    """The signs of this package's own reports in ASCII, anything else as a question mark."""
    return text.replace("±", "+-").encode("ascii", "replace").decode("ascii")


@dataclass(frozen=True, slots=True)
class _ArmTable:
    result: BenchResult

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ascii_only = options.ascii_only
        speed = (*_SPEED, _THOUGHT) if has_thoughts(self.result) else _SPEED
        whole = _arm_table(self.result.arms, (_NAME, *speed, *_COST), ascii_only)
        notes = [
            Text(printable(f"{arm.name}: {arm.note}"), style="dim") for arm in self.result.arms if arm.note
        ]
        if _fits(whole, console, options):
            yield Group(whole, *notes)
            return
        halves = [_arm_table(self.result.arms, (_NAME, *part), ascii_only) for part in (speed, _COST)]
        yield Group(halves[0], Text(), halves[1], *notes)


@dataclass(frozen=True, slots=True)
class _CategoryTable:
    rows: Sequence[CategoryRow]
    arms: Sequence[ArmResult]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        begin = 0
        while begin < len(self.arms):
            if begin:
                yield Text()
            end = len(self.arms)
            while end > begin + 1 and not _fits(self._table(begin, end, options), console, options):
                end -= 1
            yield self._table(begin, end, options)
            begin = end

    def _table(self, begin: int, end: int, options: ConsoleOptions) -> Table:
        """Of some of the arms."""
        names = [arm.name for arm in self.arms[begin:end]]
        copied = any(row.copied for row in self.rows)
        table = plain_table([HEAD, *([COPIED] if copied else []), *names])
        for row in self.rows:
            title = printable("  " * row.depth + row.title)
            cells = [*([row.copied] if copied else []), *row.cells[begin:end]]
            table.add_row(Text(to_ascii(title) if options.ascii_only else title), *map(Text, cells))
        return table


def _fits(table: Table, console: Console, options: ConsoleOptions) -> bool:
    return console.measure(table, options=options.update(width=10_000)).maximum <= options.max_width


def _arm_table(arms: Iterable[ArmResult], columns: Sequence[_Column], ascii_only: bool) -> Table:
    table = plain_table([column.title for column in columns])
    for arm in arms:
        cells = [printable(column.cell(arm)) for column in columns]
        row = [Text(to_ascii(cell) if ascii_only else cell) for cell in cells]
        row[0].stylize(colour_of(arm))
        table.add_row(*row)
    return table


def plain_table(titles: Sequence[str], left: frozenset[int] = frozenset({0})) -> Table:
    """An empty table without a frame; the columns `left` are aligned to the left."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for i, title in enumerate(titles):
        table.add_column(
            Text(printable(title)), justify="left" if i in left else "right", no_wrap=i > 0, overflow="fold"
        )
    return table


def _percent(share: float | None, digits: int = 0) -> str:
    return "-" if share is None else f"{number(share, digits, 100)} %"
