"""Saved benchmark runs: listed, opened, compared, exported, deleted."""

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, ProgressBar, Static

from edgespec.bench.document import Result
from edgespec.bench.result import BenchResult
from edgespec.bench.store import Entry, ResultStore
from edgespec.bench.throughput.result import ThroughputResult
from edgespec.bench.throughput.summary import shapes_of
from edgespec.bench.view import export
from edgespec.errors import EdgespecError
from edgespec.paths import results_dir
from tui.bench.throughput_chart import ThroughputChart
from tui.bench.views import HEADS, comparison_of, damage_of, row_of, view_of
from tui.common.ask import AskScreen, Choice, ChooseScreen
from tui.common.mode_screen import ModeScreen
from tui.common.status_line import StatusLine
from tui.common.table import fit_columns
from tui.services.app_services import AppServices
from tui.services.messages import RunsChanged

_EMPTY = "No run is saved yet. n measures one here; `edgespec bench` does the same without the app."
_FORMS = (
    Choice(".md", "Markdown", "Tables to paste into a page"),
    Choice(".csv", "CSV", "A row per arm and category, or per point"),
    Choice(".json", "JSON", "Everything, as --json prints it"),
    Choice(".svg", "SVG picture", "Figure 1 of a run, figure 2 of a sweep"),
    Choice(".png", "PNG picture", "The same in pixels"),
)
_LOW_SCREEN = 30
"""Lines; below it the bars are lower, so that verdict, bars and arms are seen together."""


class RunsScreen(ModeScreen):
    """The list above, one run below it."""

    AUTO_FOCUS = "#runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "mark", "Mark", id="bench.mark", tooltip="Mark a run, to compare another one with it"),
        Binding(
            "equals_sign", "compare", "Compare", id="bench.compare", tooltip="Compare with the marked run"
        ),
        Binding("e", "export", "Export", id="bench.export", tooltip="Write the open run to a file"),
        Binding("d", "delete", "Delete", id="bench.delete", tooltip="Delete the run under the cursor"),
        Binding("x", "next_shape", "Shape", id="bench.shape", tooltip="The sweep's next shape"),
    ]

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self._store = ResultStore(results_dir())
        self._entries: dict[str, Entry] = {}
        self._marked = ""
        self.open_run: Result | None = None
        self.wanted = ""
        """The run that the cursor shall go to when the list is read again."""

    @property
    def is_busy(self) -> bool:
        """Whether the screen is taken by something else than the list."""
        return False

    def compose_body(self) -> ComposeResult:
        """List, run, progress."""
        yield DataTable(id="runs", cursor_type="row", zebra_stripes=True)
        chart, progress = ThroughputChart(), ProgressBar(id="bench-progress", show_eta=False)
        chart.display = progress.display = False
        with VerticalScroll(id="run"):
            yield chart
            yield Static(_EMPTY, id="run-view", markup=False)
        yield progress
        yield StatusLine("bench-status")

    def on_mount(self) -> None:
        """Lists the runs."""
        self.query_one(DataTable).add_columns(*HEADS)
        self._load()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The footer shows what can be done now."""
        run = self.open_run
        match action:
            case "mark" | "compare" | "delete":
                return not self.is_busy and bool(self._entries)
            case "export":
                return run is not None
            case "next_shape":
                return isinstance(run, ThroughputResult) and len(shapes_of(run)) > 1
            case _:
                return super().check_action(action, parameters)

    @on(RunsChanged)
    def _load(self) -> None:
        self._read_store()

    @work(thread=True, exclusive=True, group="runs")
    def _read_store(self) -> None:
        entries = self._store.entries()
        self.app.call_from_thread(self._list, entries)

    def _list(self, entries: tuple[Entry, ...]) -> None:
        """Newest first; the cursor stays on its run, or on its line when that is gone."""
        table, under_cursor = self.query_one(DataTable), self._under_cursor()
        row = table.cursor_row
        wanted = self.wanted or (under_cursor.run_id if under_cursor else "")
        self.wanted = ""
        self._entries = {entry.run_id: entry for entry in reversed(entries)}
        if wanted in self._entries:
            row = list(self._entries).index(wanted)
        table.clear()
        rows = {
            run_id: row_of(entry, marked=run_id == self._marked) for run_id, entry in self._entries.items()
        }
        fit_columns(table, list(rows.values()))
        for run_id, cells in rows.items():
            table.add_row(*cells, key=run_id)
        table.move_cursor(row=min(row, max(table.row_count - 1, 0)))
        self._chosen()
        self.refresh_bindings()

    def _under_cursor(self) -> Entry | None:
        table = self.query_one(DataTable)
        if not table.row_count:
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return self._entries.get(key or "")

    @on(DataTable.RowSelected)
    @on(DataTable.RowHighlighted)
    def _chosen(self) -> None:
        entry = self._under_cursor()
        if self.is_busy:
            return
        if entry is None:
            self.put(None, Text(_EMPTY))
        elif entry.result is None:
            self.put(None, damage_of(entry))
        else:
            self.show_run(entry.result)

    def show_run(self, result: Result) -> None:
        """Puts a run below the list."""
        if isinstance(result, ThroughputResult):
            self.query_one(ThroughputChart).show(result)
        self.put(result, view_of(result, bar_height=6 if self.app.size.height < _LOW_SCREEN else 10))

    def put(self, result: Result | None, view: RenderableType, *, with_chart: bool = True) -> None:
        """Puts a view below the list; `result` is what it is a view of."""
        self.open_run = result
        self.query_one(ThroughputChart).display = with_chart and isinstance(result, ThroughputResult)
        self.query_one("#run-view", Static).update(view)
        self.refresh_bindings()

    def action_next_shape(self) -> None:
        """The sweep's next shape."""
        self.query_one(ThroughputChart).next_shape()

    def action_mark(self) -> None:
        """Marks the run under the cursor, or takes the mark away."""
        entry = self._under_cursor()
        if entry is not None and isinstance(entry.result, BenchResult):
            self._marked = "" if self._marked == entry.run_id else entry.run_id
            self._list(tuple(reversed(self._entries.values())))
            self.tell("go to another run and press = to compare" if self._marked else "")
        elif entry is not None:
            self.tell("only speculative runs are compared: their arms have names in common")

    def action_compare(self) -> None:
        """The run under the cursor against the marked one."""
        entry = self._under_cursor()
        before = self._entries[self._marked].result if self._marked in self._entries else None
        after = entry.result if entry else None
        if not isinstance(before, BenchResult) or not isinstance(after, BenchResult):
            self.tell("mark a speculative run with m, then go to another one")
            return
        self.put(after, comparison_of(before, after), with_chart=False)
        self.tell("Enter shows the run again")

    @work(exclusive=True, group="bench-export")
    async def action_export(self) -> None:
        """Writes the open run beside where the app was started."""
        result = self.open_run
        if result is None:
            return
        ending = await self.app.push_screen_wait(ChooseScreen(f"Export {result.run_id} as", _FORMS))
        if ending is None:
            return
        path = Path(f"edgespec-{result.run_id}{ending}").resolve()
        try:
            await asyncio.to_thread(export, result, path)
            self.tell(f"written: {path}")
        except EdgespecError as error:
            self.services.tell_error(error)

    @work(exclusive=True, group="bench-delete")
    async def action_delete(self) -> None:
        """Deletes a run's file, after a question."""
        entry = self._under_cursor()
        if entry is None or not await self.app.push_screen_wait(
            AskScreen(f"Delete the run {entry.run_id}?", "Delete", "Keep")
        ):
            return
        try:
            await asyncio.to_thread(self._store.delete, entry.run_id)
            self.tell(f"deleted: {entry.run_id}")
        except EdgespecError as error:
            self.services.tell_error(error)
        self.services.runs_changed()
