"""The workshop: a form with its plan, the work stage by stage, and what the new model is worth beside the dense one."""

import asyncio
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll

from edgespec.errors import EdgespecError
from edgespec.files import clear_leftovers
from edgespec.text import one_line
from edgespec.worker.jobs.expected import ExpectedStage
from edgespec.worker.jobs.measure import Comparison, MeasureJob
from edgespec.worker.jobs.plan import Planned
from edgespec.worker.jobs.request import WorkshopRequest
from edgespec.worker.jobs.written import Made
from edgespec.worker.protocol import JobFinished, JobReported, Progressed, RequestFailed, WorkerDied
from tui.common.ask import AskScreen, ChooseScreen
from tui.common.mode_screen import ModeScreen
from tui.common.narrow import NARROW_COLUMNS
from tui.common.status_line import StatusLine
from tui.common.wording import joined
from tui.models.rows import load_models
from tui.services.app_services import AppServices
from tui.services.engine_client import EngineState
from tui.services.job_runner import RunningJob
from tui.services.launch import ScreenName
from tui.services.messages import WorkerReported
from tui.workshop.choices import model_choices
from tui.workshop.comparison import sentence
from tui.workshop.form import WorkshopForm
from tui.workshop.plan_pane import PlanPane
from tui.workshop.result_pane import ResultPane
from tui.workshop.stages import Stages


class Phase(StrEnum):
    """What the screen is at."""

    PLANNING = "planning"
    MAKING = "making"
    MEASURING = "measuring"
    DONE = "done"

    @property
    def is_working(self) -> bool:
        """Whether something is being made or measured."""
        return self in (Phase.MAKING, Phase.MEASURING)


def _key(key: str, action: str, title: str, tooltip: str) -> Binding:
    return Binding(key, action, title, id=f"workshop.{action}", tooltip=tooltip)


class WorkshopScreen(ModeScreen):
    """Owns the job that makes or measures."""

    NAME = "workshop"
    AUTO_FOCUS = "#model"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW_COLUMNS, "-tight"), (100, "-roomy")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        _key("ctrl+s", "start", "Start", "Do what the plan says"),
        _key("ctrl+o", "choose", "Models", "Choose a model on disk"),
        _key("space", "pause", "Pause", "Pause or resume the work"),
        _key("escape", "stop", "Stop", "Stop the work; no partial file is left"),
        _key("escape", "call_off", "Call off", "Start nothing when the plan is ready"),
        _key("r", "race", "Race", "Race with the new model"),
        _key("c", "chat", "Chat", "Chat with the new model"),
        _key("m", "measure", "Measure", "Measure both models again"),
        _key("escape", "back", "Plan", "Back to the form and the plan"),
    ]

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self.phase = Phase.PLANNING
        self._work: RunningJob | None = None
        self._made: Made | None = None
        self._expected: tuple[ExpectedStage, ...] = ()
        """What the work under way goes through."""
        self._sent = ""
        """A model that another screen sent, for when the work is over."""

    def compose_body(self) -> ComposeResult:
        """Form at the left; plan, comparison and stages at the right."""
        with Horizontal(id="workshop-body"):
            yield WorkshopForm()
            with VerticalScroll(id="workshop-work"):
                yield PlanPane(self.services.jobs)
                yield ResultPane()
                yield Stages()
        yield StatusLine("workshop-status")

    def on_mount(self) -> None:
        """Shows the plan's pane."""
        self._enter(Phase.PLANNING)

    def receive(self, value: str) -> None:
        """A model, by its name or path: planned at once, or when the work under way is over."""
        self._sent = value
        if not self.phase.is_working:
            self._return_to_plan()

    @property
    def form(self) -> WorkshopForm:
        """The fields."""
        return self.query_one(WorkshopForm)

    @property
    def plan(self) -> PlanPane:
        """What would come of them."""
        return self.query_one(PlanPane)

    @property
    def result(self) -> ResultPane:
        """What the new model is worth."""
        return self.query_one(ResultPane)

    @property
    def stages(self) -> Stages:
        """What is being done."""
        return self.query_one(Stages)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that mean nothing now are not shown."""
        match action:
            case "start":
                return self.phase is Phase.PLANNING
            case "call_off":
                return self.phase is Phase.PLANNING and self.plan.is_awaited
            case "choose":
                return not self.phase.is_working
            case "pause" | "stop":
                return self.phase.is_working
            case "race" | "chat" | "measure" | "back":
                return self.phase is Phase.DONE
            case _:
                return super().check_action(action, parameters)

    def _enter(self, phase: Phase) -> None:
        """Shows what belongs to a phase, and the keys that mean something in it."""
        self.phase = phase
        self.form.disabled = phase.is_working
        self.set_class(phase is not Phase.PLANNING, "-past-planning")
        self.plan.display = phase is Phase.PLANNING
        self.result.display = phase in (Phase.MEASURING, Phase.DONE)
        self.stages.display = phase is not Phase.PLANNING
        if phase is not Phase.PLANNING:
            self.query_one("#workshop-work").focus()
        self.refresh_bindings()

    # Planning.

    @on(WorkshopForm.Changed)
    def _form_changed(self, message: WorkshopForm.Changed) -> None:
        if not self.phase.is_working:
            self._enter(Phase.PLANNING)
            self.plan.plan_soon(self._placed(message.request))

    @on(PlanPane.Ready)
    def _plan_ready(self, message: PlanPane.Ready) -> None:
        self.form.name_output(message.planned.job.destination.name)

    def _return_to_plan(self) -> None:
        """Shows the plan again, made anew: of a model that was sent meanwhile, or of what is in the form."""
        self._enter(Phase.PLANNING)
        spec, self._sent = self._sent, ""
        request = self.form.request
        if spec and spec != request.model:
            self.form.take_model(spec)
        else:
            self.plan.plan(self._placed(request))

    def _placed(self, request: WorkshopRequest) -> WorkshopRequest:
        """The request, with the folder of the settings for a name alone."""
        return replace(request, folder=self.services.settings.workshop_folder)

    @on(WorkshopForm.ChooseRequested)
    def _choose_requested(self) -> None:
        self.action_choose()

    @work(exclusive=True, group="workshop-choose")
    async def action_choose(self) -> None:
        """Chooses a model among those that are here."""
        try:
            models = await asyncio.to_thread(load_models, self.services.engine_settings(), Path.cwd())
        except (EdgespecError, OSError) as error:
            self.tell(str(error), error=True)
            return
        empty = "No models on disk yet. F5 fetches one, or type a path into the form."
        dialog = ChooseScreen("Choose a model", model_choices(models), empty)
        found = await self.app.push_screen_wait(dialog)
        if found is not None:
            self.form.take_model(found)

    # Working.

    @work(exclusive=True, group="workshop-start")
    async def action_start(self) -> None:
        """Does what the plan says; an existing file is replaced only after a question."""
        planned = await self._wait_for_plan()
        if planned is None or not await self._agrees(planned):
            return
        self.plan.forget()
        self._enter(Phase.MAKING)
        self._expected = planned.stages
        # What will be done stands there at once: to end an engine and to start a process takes its time.
        await self.stages.expect(self._expected)
        self.result.clear()
        self._made = None
        await self.services.engine.close()
        self._work = self.services.jobs.start(replace(planned.job, force=planned.exists), self)
        self.tell(f"making {planned.job.destination.name}: Space pauses, Esc stops")

    async def _wait_for_plan(self) -> Planned | None:
        """The plan; one that is being made is waited for. None where there is none, which is then said."""
        if self.plan.is_planning:
            self.tell("the plan is being worked out: the work starts when it is ready, Esc calls it off")
        planned = await self.plan.wait()
        if planned is None and self.phase is Phase.PLANNING:
            self.tell(self.plan.why_none, error=True)
        return planned

    def action_call_off(self) -> None:
        """Starts nothing when the plan is ready."""
        self.plan.call_off()

    async def _agrees(self, planned: Planned) -> bool:
        questions = []
        if self.services.engine.state is EngineState.BUSY:
            questions.append(
                ("The chat's answer will be stopped: this work needs the whole machine.", "Stop it")
            )
        if planned.exists:
            questions.append((f"{one_line(str(planned.job.destination))} exists. Replace it?", "Replace"))
        for question, yes in questions:
            if not await self.app.push_screen_wait(AskScreen(question, yes, "Cancel")):
                return False
        return True

    async def _measure(self, made: Made) -> None:
        self._enter(Phase.MEASURING)
        await self.services.engine.close()
        job = MeasureJob(made.dense, made.path, self.services.engine_settings())
        self._work = self.services.jobs.start(job, self)
        self.tell(f"{made.path.name} written; measuring it against the dense model (Esc skips)")

    def action_pause(self) -> None:
        """Holds the work at its next step, or lets it go on."""
        if self._work is not None:
            self._work.toggle_pause()
            self.tell("paused: Space resumes" if self._work.paused else "running: Space pauses, Esc stops")

    @work(exclusive=True, group="workshop-stop")
    async def action_stop(self) -> None:
        """Ends the work, after a question."""
        running, is_making = self._work, self.phase is Phase.MAKING
        if running is None:
            return
        question = "Stop? The new file is discarded." if is_making else "Stop measuring? The file stays."
        if await self.app.push_screen_wait(AskScreen(question, "Stop", "Go on")) and not running.ended:
            running.stop()
            self.tell("stopping after the current step")

    @on(WorkerReported)
    async def _work_reported(self, message: WorkerReported) -> None:
        if self._work is None or message.source is not self._work:
            return
        match message.event:
            case Progressed() as progressed:
                await self.stages.show_progress(progressed, self._work.eta_s(progressed))
            case JobReported(Comparison() as found):
                self.result.show(found, self._made)
            case JobFinished(Made() as made):
                self.stages.begin_next()
                self._made = made
                self.services.models_changed()
                await self._measure(made)
            case JobFinished(Comparison() as found):
                self.stages.end(whole=True)
                self.result.show(found, self._made)
                self._finish(sentence(found))
            case RequestFailed(text, hint, interrupted):
                self._end_early("stopped" if interrupted else joined(text, hint), error=not interrupted)
            case WorkerDied(cause):
                await self._clean_up(self._work)
                self._end_early(f"the work's process {cause}", error=True)
            case _:
                pass

    async def _clean_up(self, running: RunningJob) -> None:
        """Deletes what a killed process left."""
        destination = getattr(running.job, "destination", None)
        if isinstance(destination, Path):
            await asyncio.to_thread(clear_leftovers, destination.parent)

    def _end_early(self, text: str, *, error: bool) -> None:
        self.stages.end(whole=False)
        if self.phase is Phase.MEASURING:
            self._finish(f"{text}; the new file is kept, m measures again", error=error)
            return
        self._work = None
        self._return_to_plan()
        self.tell(f"{text}; nothing was written", error=error)

    def _finish(self, text: str, *, error: bool = False) -> None:
        self._work = None
        self._enter(Phase.DONE)
        self.query_one("#workshop-work").scroll_home(animate=False)
        self.tell(text, error=error)

    # With the new model.

    def action_back(self) -> None:
        """Shows the plan again, made anew: the file of that name is there now."""
        self._return_to_plan()
        self.query_one("#model").focus()

    def action_race(self) -> None:
        """Loads the new model, and shows the race."""
        self._open("race")

    def action_chat(self) -> None:
        """Loads the new model, and shows the chat."""
        self._open("chat")

    def _open(self, screen: ScreenName) -> None:
        if self._made is not None and not self.lacks_engine("the new model"):
            self.services.open_engine(str(self._made.path.resolve()))
            self.services.go(screen)

    async def action_measure(self) -> None:
        """Measures both models again."""
        if self._made is not None:
            await self.stages.expect([stage for stage in self._expected if stage.measures])
            await self._measure(self._made)
