"""The planning half of the workshop: the form, and what would come of it, worked out in a process of its own."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Final

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.timer import Timer
from textual.widgets import Static

from edgespec.errors import EdgespecError
from edgespec.text import human_bytes, one_line
from edgespec.worker.jobs.workshop import PlanJob, Planned
from edgespec.worker.protocol import JobFinished, RequestFailed, WorkerDied
from tui.common.ask import Choice, ChooseScreen
from tui.common.mode_screen import ModeScreen
from tui.common.status_line import StatusLine
from tui.common.wording import joined
from tui.models.rows import load_models
from tui.services.app_services import AppServices
from tui.services.job_runner import RunningJob
from tui.services.messages import WorkerReported
from tui.workshop.comparison import lines_table
from tui.workshop.form import WorkshopForm
from tui.workshop.stages import Stages

PLAN_DELAY_S: Final = 0.3
"""After the last key: a plan costs a process."""
_EMPTY: Final = """\
Choose a model with Ctrl+O, or write its name or path at the left. What would come of the choices is shown here; \
nothing is written before Ctrl+S.

F5 fetches models."""


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


class PlanScreen(ModeScreen):
    """Owns the form and its plan."""

    NAME = "workshop"
    AUTO_FOCUS = "#model"
    HORIZONTAL_BREAKPOINTS = [(0, "-tight"), (100, "-roomy")]  # noqa: RUF012

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self.phase = Phase.PLANNING
        self.planned: Planned | None = None
        self._planning: RunningJob | None = None
        self._delay: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Form at the left; plan, comparison and stages at the right."""
        with Horizontal():
            yield WorkshopForm()
            with VerticalScroll(id="workshop-work"):
                yield Static(_EMPTY, id="workshop-plan", markup=False)
                yield Static("", id="workshop-result", markup=False)
                yield Stages()
        yield StatusLine("workshop-status")

    def on_mount(self) -> None:
        """Shows the plan's pane."""
        self.enter(Phase.PLANNING)

    def receive(self, value: str) -> None:
        """Takes the model that another screen sent here."""
        if not self.phase.is_working:
            self.enter(Phase.PLANNING)
            self.form.take_model(value)

    @property
    def form(self) -> WorkshopForm:
        """The fields."""
        return self.query_one(WorkshopForm)

    def enter(self, phase: Phase) -> None:
        """Shows what belongs to a phase, and the keys that mean something in it."""
        self.phase = phase
        self.form.disabled = phase.is_working
        self.set_class(phase is not Phase.PLANNING, "-past-planning")
        self.query_one("#workshop-plan").display = phase is Phase.PLANNING
        self.query_one("#workshop-result").display = phase in (Phase.MEASURING, Phase.DONE)
        self.query_one(Stages).display = phase is not Phase.PLANNING
        if phase is not Phase.PLANNING:
            self.query_one("#workshop-work").focus()
        self.refresh_bindings()

    @on(WorkshopForm.Changed)
    def _wish_changed(self) -> None:
        """The plan follows when the keys have been quiet for a moment."""
        if self.phase.is_working:
            return
        self.enter(Phase.PLANNING)
        self.forget_plan()
        if self.form.wish.model.strip():
            self.tell("working out the plan")
            self._delay = self.set_timer(PLAN_DELAY_S, self.plan)
        else:
            self.tell("")
            self._show_plan_text(_EMPTY)

    def plan(self) -> None:
        """Works out the plan of what is in the form now."""
        self.forget_plan()
        self._planning = self.services.jobs.start(PlanJob(self.form.wish), self)

    def forget_plan(self) -> None:
        """There is no plan any more, and none is being worked out."""
        if self._delay is not None:
            self._delay.stop()
        if self._planning is not None:
            self.services.jobs.cancel(self._planning)
        self._delay = self._planning = self.planned = None
        self.refresh_bindings()

    @on(WorkerReported)
    def _plan_reported(self, message: WorkerReported) -> None:
        if message.source is not self._planning:
            return
        match message.event:
            case JobFinished(Planned() as planned):
                self._show_plan(planned)
            case RequestFailed(text, hint):
                self._fail_plan(joined(text, hint))
            case WorkerDied(cause):
                self._fail_plan(f"the plan's process {cause}; F8 shows what it said")
            case _:
                pass

    def _show_plan(self, planned: Planned) -> None:
        self.planned = planned
        self.form.name_output(str(planned.job.destination))
        plan = self.query_one("#workshop-plan", Static)
        plan.remove_class("error")
        plan.update(lines_table(planned.lines))
        self.tell("nothing is written yet: Ctrl+S starts")
        self.refresh_bindings()

    def _fail_plan(self, text: str) -> None:
        self._show_plan_text(one_line(text), error=True)
        self.tell("this cannot be done; other choices may")

    def _show_plan_text(self, text: str, *, error: bool = False) -> None:
        plan = self.query_one("#workshop-plan", Static)
        plan.set_class(error, "error")
        plan.update(text)

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
        choices = [
            Choice(
                row.spec,
                f"{one_line(row.name)}  {human_bytes(row.size_bytes or 0)}",
                str(row.path),
                disabled=bool(row.trouble),
            )
            for row in models.rows
            if row.is_here
        ]
        empty = "No model is here yet: F5 fetches one; a path can be written into the form."
        found = await self.app.push_screen_wait(ChooseScreen("Choose a model", choices, empty))
        if found is not None:
            self.form.take_model(found)
