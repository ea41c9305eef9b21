"""Benchmarks: those that were saved, and one under way."""

import math
from time import monotonic
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.events import ScreenResume
from textual.timer import Timer
from textual.widgets import DataTable, ProgressBar

from edgespec.bench.result import BenchResult
from edgespec.errors import EdgespecError
from edgespec.worker.jobs.bench import BenchJob
from edgespec.worker.protocol import JobFinished, JobReported, Noted, Progressed, RequestFailed, WorkerDied
from tui.bench.form import BenchFormScreen
from tui.bench.runs import RunsScreen
from tui.common.wording import progress_line
from tui.services.app_services import AppServices
from tui.services.job_runner import RunningJob
from tui.services.messages import WorkerReported


class BenchScreen(RunsScreen):
    """A run that is measured has the screen for itself as it grows; the list comes back when it ends."""

    NAME = "bench"
    PAINT_S: ClassVar[float] = 0.5
    """Between two paints of a run under way, at least: what the screen takes, the benchmark loses."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="bench.new", tooltip="Measure: target, drafts, prompts"),
        Binding(
            "space",
            "pause",
            "Pause",
            id="bench.pause",
            tooltip="Hold the benchmark between answers, or go on",
        ),
        Binding(
            "escape", "stop", "Stop", id="bench.stop", tooltip="End the benchmark; finished prompts are kept"
        ),
    ]

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self._job: RunningJob | None = None
        self._is_starting = self._is_stopping = False
        self._progress: Progressed | None = None
        self._figures: BenchResult | None = None
        self._paint_timer: Timer | None = None
        self._painted_s = -math.inf

    @property
    def is_busy(self) -> bool:
        """Whether a benchmark has the screen."""
        return self._job is not None or self._is_starting

    def receive(self, value: BenchJob) -> None:
        """Measures that."""
        self.start(value)

    def on_screen_resume(self, _event: ScreenResume) -> None:
        """Shows what came while another screen was shown."""
        self._paint()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The footer shows what can be done now."""
        match action:
            case "pause" | "stop":
                return self._job is not None
            case "new":
                return not self.is_busy
            case _:
                return super().check_action(action, parameters)

    @work(exclusive=True, group="bench-new")
    async def action_new(self) -> None:
        """Asks what shall be measured, and measures."""
        form = BenchFormScreen(self.services.launch, self.services.engine_settings())
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
        self.put(None, Text("The first figures come after the first prompt.", style="dim"))
        self.tell("starting")
        # A bar without a total would be animated, at the benchmark's cost.
        self.query_one(ProgressBar).update(total=1, progress=0)
        self._give_room(to_job=True)
        try:
            await self.services.engine.close()
            await self.wait_for_refresh()  # a bar rounds by its width, which it has from now on
            self._job = self.services.jobs.start(job, self)
        finally:
            self._is_starting = False
        self.refresh_bindings()

    def _give_room(self, *, to_job: bool) -> None:
        table = self.query_one(DataTable)
        self.query_one(ProgressBar).display = to_job
        table.display = not to_job
        (self.query_one("#run") if to_job else table).focus()
        self.refresh_bindings()

    def action_pause(self) -> None:
        """Holds the benchmark between two answers, or lets it go on."""
        if self._job is not None and not self._is_stopping:
            self._job.toggle_pause()
            self.tell("paused: Space goes on, Esc stops" if self._job.paused else "going on")

    def action_stop(self) -> None:
        """Ends the benchmark; asking twice would cut short what is being kept."""
        if self._job is not None and not self._is_stopping:
            self._is_stopping = True
            self._job.stop()
            self.tell("stopping")

    @on(WorkerReported)
    def _job_reported(self, message: WorkerReported) -> None:
        if self._job is None or message.source is not self._job:
            return
        match message.event:
            case Progressed() as progress:
                self._progress = progress
                self._paint_soon()
            case JobReported(BenchResult() as figures):
                self._figures = figures
                self._paint_soon()
            case Noted(text):
                self.tell(text)
            case JobFinished(BenchResult() as result):
                self._figures = result if result.arms else None
                self._end("done" if result.complete else f"stopped; {self._kept()}")
            case RequestFailed() as failed if failed.interrupted:
                self._end(f"stopped; {self._kept()}")
            case RequestFailed(text, hint):
                self._end(text)
                self.services.tell_error(EdgespecError(text, hint))
            case WorkerDied(cause):
                self._end(f"the engine {cause}; {self._kept()}")
            case _:
                pass

    def _kept(self) -> str:
        run = self._figures
        return (
            f"what was finished is kept as {run.run_id}" if run else "no prompt was finished, nothing is kept"
        )

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
        if self._figures is not None and self._figures is not self.open_run:
            self.show_run(self._figures)
        self.query_one(ProgressBar).update(total=max(progress.total, 1), progress=progress.done)
        if not job.paused and not self._is_stopping:
            self.tell(progress_line(progress, job.eta_s(progress)))

    def _end(self, text: str) -> None:
        """The list comes back, with the cursor on what was measured."""
        self._job = None
        if self._figures is not None:
            self.wanted = self._figures.run_id
            self.show_run(self._figures)
        self._give_room(to_job=False)
        self.tell(text)
        self.services.runs_changed()
