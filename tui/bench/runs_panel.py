"""Saved benchmark runs: listed, opened, compared, exported, deleted; and one that is being measured, as it grows."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import RenderableType
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import DataTable, Static

from edgespec.bench.document import Result
from edgespec.bench.result import BenchResult
from edgespec.bench.store import Entry, ResultStore
from edgespec.bench.throughput.result import ThroughputResult
from edgespec.bench.throughput.summary import shapes_of
from edgespec.bench.view import export as write_run
from edgespec.errors import EdgespecError
from edgespec.paths import results_dir
from tui.bench.throughput_chart import ThroughputChart
from tui.bench.views import HEADS, comparison_of, damage_of, row_of, view_of
from tui.common.ask import AskScreen, Choice, ChooseScreen
from tui.common.handover import hand_over
from tui.common.status_line import Told
from tui.common.table import fit_columns
from tui.services.app_services import AppServices

_EMPTY: Final = "No runs yet. Press n to measure one here; `edgespec bench` does it without the app."
_NOTHING_YET: Final = "The first figures come after the first prompt."
_FORMATS: Final = (
    Choice(".md", "Markdown", "Tables to paste into a page"),
    Choice(".csv", "CSV", "A row per arm and category, or per point"),
    Choice(".json", "JSON", "Everything, as --json prints it"),
    Choice(".svg", "SVG picture", "Figure 1 of a run, figure 2 of a sweep"),
    Choice(".png", "PNG picture", "The same in pixels"),
)
_LOW_SCREEN: Final = 30
"""Lines; below it the bars are lower, so that verdict, bars and arms are seen together."""


class RunsPanel(Vertical):
    """The list above, one run below it. While a run is measured, that one has the panel for itself."""

    def __init__(self, services: AppServices) -> None:
        super().__init__(id="runs-panel")
        self._services = services
        self._store = ResultStore(results_dir())
        self._entries: dict[str, Entry] = {}
        self._marked = ""
        self._is_live = False
        self._wanted = ""
        """The run that the cursor shall go to when the list is read again."""
        self.open_run: Result | None = None
        """What is shown below the list."""

    def compose(self) -> ComposeResult:
        """List and run."""
        yield DataTable(id="runs", cursor_type="row", zebra_stripes=True)
        chart = ThroughputChart()
        chart.display = False
        with VerticalScroll(id="run"):
            yield chart
            yield Static(_EMPTY, id="run-view", markup=False)

    def on_mount(self) -> None:
        """Lists the runs."""
        self._table.add_columns(*HEADS)
        self.reload()

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one("#runs", DataTable)

    @property
    def _chart(self) -> ThroughputChart:
        return self.query_one(ThroughputChart)

    @property
    def has_choice(self) -> bool:
        """Whether the list is shown, and holds a run."""
        return not self._is_live and bool(self._entries)

    @property
    def has_shapes(self) -> bool:
        """Whether the open run is a sweep of several shapes."""
        return isinstance(self.open_run, ThroughputResult) and len(shapes_of(self.open_run)) > 1

    # The list.

    @work(thread=True, exclusive=True, group="runs")
    def reload(self) -> None:
        """Reads the saved runs again."""
        entries = self._store.entries()
        self.app.call_from_thread(self._list, entries)

    def _list(self, entries: tuple[Entry, ...]) -> None:
        """Newest first; the cursor stays on its run, or on its line when that is gone."""
        table, under_cursor = self._table, self._under_cursor()
        row = table.cursor_row
        wanted = self._wanted or (under_cursor.run_id if under_cursor else "")
        self._wanted = ""
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
        self._open_chosen()
        self.refresh_bindings()

    def _under_cursor(self) -> Entry | None:
        table = self._table
        if not table.row_count:
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return self._entries.get(key or "")

    @on(DataTable.RowSelected)
    @on(DataTable.RowHighlighted)
    def _open_chosen(self) -> None:
        entry = self._under_cursor()
        if self._is_live:
            return
        if entry is None:
            self._put(None, Text(_EMPTY))
        elif entry.result is None:
            self._put(None, damage_of(entry))
        else:
            self._open(entry.result)

    # One run.

    def _open(self, result: Result) -> None:
        if isinstance(result, ThroughputResult):
            self._chart.show(result)
        self._put(result, view_of(result, bar_height=6 if self.app.size.height < _LOW_SCREEN else 10))

    def _put(self, result: Result | None, view: RenderableType, *, with_chart: bool = True) -> None:
        """Puts a view below the list; `result` is what it is a view of."""
        self.open_run = result
        self._chart.display = with_chart and isinstance(result, ThroughputResult)
        self.query_one("#run-view", Static).update(view)
        self.refresh_bindings()

    def begin_live(self) -> None:
        """A run is about to be measured: the list makes room for it."""
        self._is_live = True
        self._put(None, Text(_NOTHING_YET, style="dim"))
        self._table.display = False
        self.query_one("#run").focus()

    def show_live(self, figures: BenchResult) -> None:
        """The figures of the run that is being measured, unless they are shown already."""
        if figures is not self.open_run:
            self._open(figures)

    def end_live(self, figures: BenchResult | None) -> None:
        """The list comes back; after the next look at the folder the cursor is on what was measured."""
        self._is_live = False
        if figures is not None:
            self._wanted = figures.run_id
            self._open(figures)
        self._table.display = True
        self._table.focus()
        self.refresh_bindings()

    # What can be done with a run.

    def next_shape(self) -> None:
        """The sweep's next shape."""
        self._chart.next_shape()

    def mark(self) -> None:
        """Marks the run under the cursor, or takes the mark away."""
        entry = self._under_cursor()
        if entry is not None and isinstance(entry.result, BenchResult):
            self._marked = "" if self._marked == entry.run_id else entry.run_id
            self._list(tuple(reversed(self._entries.values())))
            self._tell("now go to another run and press = to compare" if self._marked else "")
        elif entry is not None:
            self._tell("only speculative runs are compared: their arms have names in common")

    def compare(self) -> None:
        """The run under the cursor against the marked one."""
        entry = self._under_cursor()
        before = self._entries[self._marked].result if self._marked in self._entries else None
        after = entry.result if entry else None
        if not isinstance(before, BenchResult) or not isinstance(after, BenchResult):
            self._tell("mark a speculative run with m first, then go to another and press =")
            return
        self._put(after, comparison_of(before, after), with_chart=False)
        self._tell("Enter shows the run again")

    @work(exclusive=True, group="bench-export")
    async def export(self) -> None:
        """Writes the open run beside where the app was started."""
        result = self.open_run
        if result is None:
            return
        ending = await self.app.push_screen_wait(ChooseScreen(f"Export {result.run_id} as", _FORMATS))
        if ending is None:
            return
        path = Path(f"edgespec-{result.run_id}{ending}")
        try:
            self._tell(await hand_over(self.app, path, partial(write_run, result)))
        except EdgespecError as error:
            self._services.tell_error(error)

    @work(exclusive=True, group="bench-delete")
    async def delete(self) -> None:
        """Deletes a run's file, after a question."""
        entry = self._under_cursor()
        if entry is None or not await self.app.push_screen_wait(
            AskScreen(f"Delete the run {entry.run_id}?", "Delete", "Keep")
        ):
            return
        try:
            await asyncio.to_thread(self._store.delete, entry.run_id)
            self._tell(f"deleted: {entry.run_id}")
        except EdgespecError as error:
            self._services.tell_error(error)
        self._services.runs_changed()

    def _tell(self, text: str) -> None:
        self.post_message(Told(text))
