"""Benchmarks: runs that were saved, one under way, two compared."""

from pathlib import Path
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import ScreenResume
from textual.widgets import DataTable, ProgressBar, Static

from edgespec.bench.compare import compare
from edgespec.bench.document import Result, verdict_of
from edgespec.bench.result import BenchResult
from edgespec.bench.store import Entry, ResultStore
from edgespec.bench.table import plain_table
from edgespec.bench.throughput.result import ThroughputResult
from edgespec.bench.verdict import doubts
from edgespec.bench.view import COMPARISON_HEADS, arms_and_speedup, comparison_row, export, result_parts
from edgespec.errors import EdgespecError
from edgespec.paths import results_dir
from edgespec.text import one_line, plain_text
from tui.engine.protocol import JobFinished, JobReported, Noted, Progressed, RequestFailed, WorkerDied
from tui.job_room import RunningJob
from tui.jobs.bench import BenchJob
from tui.messages import RunsChanged, WorkerReported
from tui.screens.ask import AskScreen, Choice, ChooseScreen
from tui.screens.base import ModeScreen
from tui.screens.bench_form import BenchFormScreen
from tui.widgets.throughput_chart import ThroughputChart
from tui.wording import progress_line

_EMPTY = "No run is saved yet. n measures one here; `edgespec bench` does the same without the app."
_FORMS = (
    Choice(".md", "Markdown", "Tables to paste into a page"),
    Choice(".csv", "CSV", "A row per arm and category, or per point"),
    Choice(".json", "JSON", "Everything, as --json prints it"),
    Choice(".svg", "SVG picture", "Figure 1 of a run, figure 2 of a sweep"),
    Choice(".png", "PNG picture", "The same in pixels"),
)


class BenchScreen(ModeScreen):
    """The list above, one run below it. A run that is measured shows there as it grows."""

    NAME = "bench"
    AUTO_FOCUS = "#runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="bench.new", tooltip="Measure: target, drafts, prompts"),
        Binding("m", "mark", "Mark", id="bench.mark", tooltip="Mark a run, to compare another one with it"),
        Binding(
            "equals_sign", "compare", "Compare", id="bench.compare", tooltip="Compare with the marked run"
        ),
        Binding("e", "export", "Export", id="bench.export", tooltip="Write the open run to a file"),
        Binding("x", "next_shape", "Shape", id="bench.shape", tooltip="The sweep's next shape", show=False),
        Binding("space", "pause", "Pause", id="bench.pause", tooltip="Hold the benchmark, or go on"),
        Binding(
            "escape", "stop", "Stop", id="bench.stop", tooltip="End the benchmark; finished prompts are kept"
        ),
        Binding(
            "d", "delete", "Delete", id="bench.delete", tooltip="Delete the run under the cursor", show=False
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._store = ResultStore(results_dir())
        self._entries: dict[str, Entry] = {}
        self._open: Result | None = None
        self._marked = ""
        self._job: RunningJob | None = None

    def compose(self) -> ComposeResult:
        """List, run, progress."""
        yield self.make_top_bar()
        yield DataTable(id="runs", cursor_type="row", zebra_stripes=True)
        with VerticalScroll(id="run"):
            yield ThroughputChart()
            yield Static(_EMPTY, id="run-view", markup=False)
        yield ProgressBar(id="bench-progress", show_eta=False)
        yield Static("", id="bench-status", markup=False)
        yield self.make_footer()

    def on_mount(self) -> None:
        """Lists the runs, and starts what the command line asked for."""
        self.query_one(DataTable).add_columns("run", "target", "arms", "found", "state")
        self.query_one(ProgressBar).display = self.query_one(ThroughputChart).display = False
        self._load()
        job = self.edgespec.launch.bench_job
        if isinstance(job, BenchJob):
            self.start(job)

    def on_screen_resume(self, event: ScreenResume) -> None:
        """Shows what is loaded now."""
        super().on_screen_resume(event)

    # Saved runs.

    @on(RunsChanged)
    def _load(self) -> None:
        self._read_store()

    @work(thread=True, exclusive=True, group="runs")
    def _read_store(self) -> None:
        entries = self._store.entries()
        self.app.call_from_thread(self._list, entries)

    def _list(self, entries: tuple[Entry, ...]) -> None:
        table = self.query_one(DataTable)
        at = table.cursor_row
        self._entries = {entry.run_id: entry for entry in reversed(entries)}
        table.clear()
        for entry in self._entries.values():
            cells = _cells(entry, marked=entry.run_id == self._marked)
            table.add_row(*(Text(one_line(cell)) for cell in cells), key=entry.run_id)
        table.move_cursor(row=min(at, max(table.row_count - 1, 0)))
        if self._open is None and self._job is None and self._entries:
            self._show_entry(next(iter(self._entries.values())))

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
        if entry is not None and self._job is None:
            self._show_entry(entry)

    def _show_entry(self, entry: Entry) -> None:
        if entry.result is None:
            self._open = None
            self._put(Text(plain_text(f"{entry.path} is damaged: {entry.damage}")))
        else:
            self._show(entry.result)

    def _show(self, result: Result) -> None:
        self._open = result
        is_sweep = isinstance(result, ThroughputResult)
        chart = self.query_one(ThroughputChart)
        chart.display = is_sweep
        if isinstance(result, ThroughputResult):
            chart.show(result)
        state = "" if result.complete else ", not finished"
        parts: list[RenderableType] = [
            Text(one_line(f"{result.target} ({result.run_id}{state})"), style="bold")
        ]
        parts += [Text(one_line(verdict_of(result)), style="bold"), Text()]
        for part in result_parts(result):
            parts += [part, Text()]
        if isinstance(result, BenchResult):
            parts += [Text(f"note: {one_line(doubt)}", style="dim") for doubt in doubts(result)]
        self._put(Group(*parts))

    def _put(self, view: RenderableType) -> None:
        self.query_one("#run-view", Static).update(view)

    def action_next_shape(self) -> None:
        """The sweep's next shape."""
        if isinstance(self._open, ThroughputResult):
            self.query_one(ThroughputChart).next_shape()

    def action_mark(self) -> None:
        """Marks the run under the cursor, or takes the mark away."""
        entry = self._under_cursor()
        if entry is not None and isinstance(entry.result, BenchResult):
            self._marked = "" if self._marked == entry.run_id else entry.run_id
            self._list(tuple(reversed(self._entries.values())))
            self._tell("go to another run and press = to compare" if self._marked else "")
        elif entry is not None:
            self._tell("only speculative runs are compared: their arms have names in common")

    def action_compare(self) -> None:
        """The run under the cursor against the marked one."""
        entry = self._under_cursor()
        before = self._entries[self._marked].result if self._marked in self._entries else None
        after = entry.result if entry else None
        if not isinstance(before, BenchResult) or not isinstance(after, BenchResult):
            self._tell("mark a speculative run with m, then go to another one")
            return
        table = plain_table(COMPARISON_HEADS)
        for row in compare(before, after):
            table.add_row(*(Text(one_line(cell)) for cell in comparison_row(row)))
        head = f"before {before.run_id} {before.target}\nafter  {after.run_id} {after.target}\n"
        note = (
            "Above 1.00x the later run is faster; the speed-up ratio does not depend on the machine's mood."
        )
        self.query_one(ThroughputChart).display = False
        self._put(Group(Text(plain_text(head)), table, Text(), Text(note, style="dim")))

    @work
    async def action_export(self) -> None:
        """Writes the open run beside where the app was started."""
        result = self._open
        if result is None:
            self._tell("open a run first")
            return
        ending = await self.app.push_screen_wait(ChooseScreen(f"Export {result.run_id} as", _FORMS))
        if ending is None:
            return
        path = Path(f"edgespec-{result.run_id}{ending}").resolve()
        try:
            export(result, path)
            self._tell(f"written: {path}")
        except EdgespecError as error:
            self.edgespec.tell_error(error)

    @work
    async def action_delete(self) -> None:
        """Deletes a run's file, after a question."""
        entry = self._under_cursor()
        if entry is None or not await self.app.push_screen_wait(
            AskScreen(f"Delete {entry.run_id}?", "Delete")
        ):
            return
        try:
            entry.path.unlink(missing_ok=True)
        except OSError as error:
            self.edgespec.tell_error(EdgespecError(f"{entry.path} cannot be deleted: {error.strerror}"))
        self._open = None
        self._put("")
        self.edgespec.runs_changed()

    # A run under way.

    @work
    async def action_new(self) -> None:
        """Asks what shall be measured, and measures."""
        if self._job is not None:
            self._tell("one benchmark at a time: Esc stops this one")
            return
        job = await self.app.push_screen_wait(
            BenchFormScreen(self.edgespec.launch, self.edgespec.engine_settings())
        )
        if job is not None:
            self.start(job)

    @work(exclusive=True, group="bench")
    async def start(self, job: BenchJob) -> None:
        """Measures; the chat's models make room."""
        await self.edgespec.free_machine()
        self._job = self.edgespec.jobs.start(job, self)
        self._put(Text("The first figures come after the first prompt.", style="dim"))
        self.query_one(ThroughputChart).display = False
        bar = self.query_one(ProgressBar)
        bar.display = True
        bar.update(total=None, progress=0)
        self._tell("starting")

    def action_pause(self) -> None:
        """Holds the benchmark between two answers, or lets it go on."""
        if self._job is not None:
            self._job.toggle_pause()
            self._tell("paused: space goes on" if self._job.paused else "going on")

    def action_stop(self) -> None:
        """Ends the benchmark."""
        if self._job is not None:
            self._job.stop()
            self._tell("stopping")

    @on(WorkerReported)
    def _job_reported(self, message: WorkerReported) -> None:
        job = self._job
        if job is None or message.source is not job:
            return
        match message.event:
            case Progressed() as progressed:
                self.query_one(ProgressBar).update(total=progressed.total or None, progress=progressed.done)
                if not job.paused:
                    self._tell(progress_line(progressed, job.eta_s(progressed)))
            case Noted(text):
                self._tell(text)
            case JobReported(value) if isinstance(value, BenchResult):
                self._show(value)
            case JobFinished(result):
                self._ended(result)
            case RequestFailed() as failed:
                self._ended(None, "stopped" if failed.interrupted else f"{failed.message}; {failed.hint}")
            case WorkerDied(cause):
                self._ended(None, f"the engine {cause}; finished prompts are kept")
            case _:
                pass

    def _ended(self, result: object, text: str = "") -> None:
        self._job = None
        self.query_one(ProgressBar).display = False
        if isinstance(result, BenchResult) and result.arms:
            self._show(result)
            text = "done" if result.complete else f"stopped; the finished prompts are kept as {result.run_id}"
        elif not text:
            text = "stopped before the first prompt was finished; nothing was kept"
        self._tell(text)
        self.edgespec.runs_changed()

    def _tell(self, text: str) -> None:
        self.query_one("#bench-status", Static).update(one_line(text), layout=False)


def _cells(entry: Entry, *, marked: bool) -> list[str]:
    result = entry.result
    name = f"{'* ' if marked else '  '}{entry.run_id}"
    if result is None:
        return [name, "?", "?", "?", f"damaged: {entry.damage}"]
    return [name, result.target, *arms_and_speedup(result), "done" if result.complete else "not finished"]
