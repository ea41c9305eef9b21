"""Benchmarks: those that were saved, and one under way."""

import asyncio
import math
from time import monotonic
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import ScreenResume
from textual.timer import Timer
from textual.widgets import ProgressBar

from edgespec.bench.result import BenchResult
from edgespec.worker.jobs.bench import BenchJob
from edgespec.worker.jobs.find import FindJob
from edgespec.worker.protocol import JobFinished, JobReported, Progressed, RequestFailed, WorkerDied
from tui.bench.form import BenchFormScreen, specs_of_pair
from tui.bench.runs_panel import RunsPanel
from tui.common.mode_screen import ModeScreen
from tui.common.status_line import StatusLine
from tui.common.wording import joined, progress_line
from tui.services.app_services import AppServices
from tui.services.job_runner import RunningJob
from tui.services.messages import RunsChanged, WorkerReported


def _key(key: str, action: str, title: str, tooltip: str) -> Binding:
    name = "shape" if action == "next_shape" else action
    return Binding(key, action, title, id=f"bench.{name}", tooltip=tooltip)


class BenchScreen(ModeScreen):
    """Measures one run at a time; what is saved is the panel's."""

    NAME = "bench"
    AUTO_FOCUS = "#runs"
    PAINT_S: ClassVar[float] = 0.5
    """Between two paints of a run under way, at least: what the screen takes, the benchmark loses."""
    BINDINGS: ClassVar[list[BindingType]] = [
        _key("m", "mark", "Mark", "Mark a run, to compare another one with it"),
        _key("equals_sign", "compare", "Compare", "Compare with the marked run"),
        _key("e", "export", "Export", "Write the open run to a file"),
        _key("d", "delete", "Delete", "Delete the run under the cursor"),
        _key("x", "next_shape", "Shape", "The sweep's next shape"),
        _key("n", "new", "New", "Measure: target, drafts, prompts"),
        _key("space", "pause", "Pause", "Pause the benchmark between answers, or resume"),
        _key("escape", "stop", "Stop", "Stop the benchmark; finished prompts are kept"),
    ]

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self._job: RunningJob | None = None
        self._found: BenchJob | None = None
        """What is measured once its models are found."""
        self._made_room = False
        """The chat's models were unloaded for it."""
        self._is_starting = self._is_stopping = False
        self._progress: Progressed | None = None
        self._figures: BenchResult | None = None
        self._paint_timer: Timer | None = None
        self._painted_s = -math.inf

    def compose_body(self) -> ComposeResult:
        """Runs, progress, status."""
        yield RunsPanel(self.services)
        progress = ProgressBar(id="bench-progress", show_eta=False)
        progress.display = False
        yield progress
        yield StatusLine("bench-status")

    @property
    def runs(self) -> RunsPanel:
        """What is saved, and what is measured."""
        return self.query_one(RunsPanel)

    @property
    def is_busy(self) -> bool:
        """Whether a benchmark is under way."""
        return self._job is not None or self._is_starting

    def receive(self, value: BenchJob) -> None:
        """Measures that; the list is read meanwhile."""
        self.start(value)

    def on_screen_resume(self, _event: ScreenResume) -> None:
        """Shows what came while another screen was shown."""
        self._paint()

    @on(RunsChanged)
    def _runs_changed(self) -> None:
        self.runs.reload()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The footer shows what can be done now."""
        match action:
            case "mark" | "compare" | "delete":
                return self.runs.has_choice
            case "export":
                return self.runs.open_run is not None
            case "next_shape":
                return self.runs.has_shapes
            case "pause" | "stop":
                return self._job is not None
            case "new":
                return not self.is_busy
            case _:
                return super().check_action(action, parameters)

    # Saved runs.

    def action_mark(self) -> None:
        """Marks the run under the cursor, or takes the mark away."""
        self.runs.mark()

    def action_compare(self) -> None:
        """The run under the cursor against the marked one."""
        self.runs.compare()

    def action_export(self) -> None:
        """Writes the open run beside where the app was started."""
        self.runs.export()

    def action_delete(self) -> None:
        """Deletes a run's file, after a question."""
        self.runs.delete()

    def action_next_shape(self) -> None:
        """The sweep's next shape."""
        self.runs.next_shape()

    # A run under way.

    @work(exclusive=True, group="bench-new")
    async def action_new(self) -> None:
        """Asks what shall be measured, and measures."""
        loaded = await asyncio.to_thread(specs_of_pair, self.services)
        form = BenchFormScreen(self.services.launch, self.services.engine_settings(), *loaded)
        job = await self.app.push_screen_wait(form)
        if job is not None:
            self.start(job)

    @work(group="bench")
    async def start(self, job: BenchJob) -> None:
        """Measures; the chat's models make room. One benchmark at a time."""
        if self.is_busy:
            self.tell("one benchmark at a time: Esc stops this one")
            return
        self._is_starting, self._is_stopping = True, False
        self._progress = self._figures = None
        self.tell("starting")
        self.runs.begin_live()
        progress = self.query_one(ProgressBar)
        # A bar without a total would be animated, at the benchmark's cost.
        progress.update(total=1, progress=0)
        progress.display = True
        self._made_room = False
        if self.services.engine.pair is not None and self.services.launch.server is None:
            # What is loaded stays until all that is to be measured is found.
            self._found, self._is_starting = job, False
            self._job = self.services.jobs.start(FindJob(job.target, job.drafts, job.offline), self)
        else:
            await self._measure(job)
        self.refresh_bindings()

    async def _measure(self, job: BenchJob) -> None:
        self._found = None
        try:
            self._made_room = self.services.engine.pair is not None
            await self.services.engine.close()
            await self.wait_for_refresh()  # a bar rounds by its width, which it has from now on
            self._job = self.services.jobs.start(job, self)
        finally:
            self._is_starting = False

    def action_pause(self) -> None:
        """Holds the benchmark between two answers, or lets it go on."""
        if self._job is not None and not self._is_stopping:
            self._job.toggle_pause()
            self.tell("paused: Space resumes, Esc stops" if self._job.paused else "running")

    def action_stop(self) -> None:
        """Ends the benchmark; asking twice would cut short what is being kept."""
        if self._job is not None and not self._is_stopping:
            self._is_stopping = True
            self._job.stop()
            self.tell("stopping")

    @on(WorkerReported)
    async def _job_reported(self, message: WorkerReported) -> None:
        if self._job is None or message.source is not self._job:
            return
        match message.event:
            case Progressed() as progress:
                self._progress = progress
                self._paint_soon()
            case JobReported(BenchResult() as figures):
                self._figures = figures
                self._paint_soon()
            case JobFinished() if self._found is not None:
                await self._measure(self._found)
            case JobFinished(BenchResult() as result):
                self._figures = result if result.arms else None
                self._end("done" if result.complete else f"stopped; {self._kept()}")
            case RequestFailed() as failed if failed.interrupted:
                self._end(f"stopped; {self._kept()}")
            case RequestFailed(text, hint):
                self._end(joined(text, hint), error=True)
                self._hand_back()
            case WorkerDied(cause):
                self._end(f"the engine {cause}; {self._kept()}", error=True)
                self._hand_back()
            case _:
                pass

    def _hand_back(self) -> None:
        """Loads the chat's models again that made room for what came to nothing."""
        if self._made_room and self.services.engine.pair is None:
            self.services.open_engine()

    def _kept(self) -> str:
        run = self._figures
        return f"finished prompts kept as {run.run_id}" if run else "no prompt finished, nothing kept"

    def _paint_soon(self) -> None:
        if self._paint_timer is not None:
            return
        wait_s = self._painted_s + self.PAINT_S - monotonic()
        if wait_s > 0:
            self._paint_timer = self.set_timer(wait_s, self._paint)
        else:
            self._paint()

    def _paint(self) -> None:
        """What has come since the last time, figures never before progress; nothing while another screen hides it."""
        self._paint_timer = None
        job, progress = self._job, self._progress
        if job is None or progress is None or not self.is_current:
            return
        self._painted_s = monotonic()
        if self._figures is not None:
            self.runs.show_live(self._figures)
        if progress.unit != "seconds" and (progress.total or 0) > 1:
            # The bar is the run's: what comes before its first answer has its line alone.
            self.query_one(ProgressBar).update(total=progress.total, progress=progress.done)
        if not job.paused and not self._is_stopping:
            self.tell(progress_line(progress, job.eta_s(progress)))

    def _end(self, text: str, *, error: bool = False) -> None:
        self._job = self._found = None
        self.query_one(ProgressBar).display = False
        self.runs.end_live(self._figures)
        self.tell(text, error=error)
        self.services.runs_changed()
