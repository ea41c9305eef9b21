"""The plan: what would come of the form's choices, worked out in a process of its own."""

import asyncio
from dataclasses import dataclass
from typing import Final

from textual import on
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from edgespec.text import one_line
from edgespec.worker.jobs.plan import PlanJob, Planned
from edgespec.worker.jobs.request import WorkshopRequest
from edgespec.worker.protocol import JobFinished, RequestFailed, WorkerDied
from tui.common.status_line import Told
from tui.common.wording import joined
from tui.services.job_runner import JobRunner, RunningJob
from tui.services.messages import WorkerReported
from tui.workshop.comparison import lines_table

PLAN_DELAY_S: Final = 0.3
"""After the last key: a plan costs a process."""
_NO_MODEL: Final = "no model chosen: Ctrl+O lists those on disk"
_CHANGED: Final = "the choices have changed: Ctrl+S starts the new plan"
_REFUSED: Final = "this cannot be done: see the reason above, other choices may work"
_EMPTY: Final = """\
Choose a model with Ctrl+O, or type its name or path on the left. The plan appears here; \
nothing is written before Ctrl+S.

F5 fetches models."""


class PlanPane(Static):
    """Owns the newest plan, or says why there is none."""

    @dataclass
    class Ready(Message):
        """A plan is there."""

        planned: Planned

    def __init__(self, jobs: JobRunner) -> None:
        super().__init__(_EMPTY, id="workshop-plan", markup=False)
        self._jobs = jobs
        self._planning: RunningJob | None = None
        self._delay: Timer | None = None
        self._awaited: asyncio.Future[Planned | None] | None = None
        self.planned: Planned | None = None
        """What can be started."""
        self.why_none = _NO_MODEL
        """Why there is no plan, where none is being worked out."""

    @property
    def is_planning(self) -> bool:
        """Whether a plan is being worked out."""
        return self._delay is not None or self._planning is not None

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for it."""
        return self._awaited is not None

    async def wait(self) -> Planned | None:
        """The plan, when it is there; None where there is none, or when it is called off or worked out anew."""
        if self.planned is not None or not self.is_planning:
            return self.planned
        awaited: asyncio.Future[Planned | None] = asyncio.get_running_loop().create_future()
        self._awaited = awaited
        self.refresh_bindings()
        try:
            return await awaited
        finally:
            if self._awaited is awaited:
                self._awaited = None
            self.refresh_bindings()

    def call_off(self) -> None:
        """Nobody waits any more; the plan is worked out all the same."""
        self._answer(None, "called off: Ctrl+S starts when the plan is ready")

    def _answer(self, planned: Planned | None, why_none: str = "") -> None:
        """To whoever waits."""
        self.why_none = why_none
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(planned)

    def plan_soon(self, request: WorkshopRequest) -> None:
        """Plans when the keys have been quiet for a moment; without a model, says how one is chosen."""
        self.forget()
        if request.model.strip():
            self.why_none = _CHANGED
            self._tell("working out the plan")
            self._delay = self.set_timer(PLAN_DELAY_S, lambda: self.plan(request))
        else:
            self.why_none = _NO_MODEL
            self._tell("")
            self._put(_EMPTY)

    def plan(self, request: WorkshopRequest) -> None:
        """Works out the plan of that now."""
        self.forget()
        self._planning = self._jobs.start(PlanJob(request), self)

    def forget(self) -> None:
        """There is no plan any more, and none is being worked out."""
        if self._delay is not None:
            self._delay.stop()
        if self._planning is not None:
            self._jobs.cancel(self._planning)
        self._delay = self._planning = self.planned = None
        self._answer(None, _CHANGED)
        self.refresh_bindings()

    @on(WorkerReported)
    def _plan_reported(self, message: WorkerReported) -> None:
        if message.source is not self._planning:
            return
        match message.event:
            case JobFinished(Planned() as planned):
                self._show(planned)
            case RequestFailed(text, hint):
                self._refuse(joined(text, hint))
            case WorkerDied(cause):
                self._refuse(f"the plan's process {cause}; F8 shows what it said")
            case _:
                pass

    def _show(self, planned: Planned) -> None:
        self.planned, self._planning = planned, None
        self.remove_class("error")
        self.update(lines_table(planned.lines))
        self._tell("nothing is written yet: Ctrl+S starts")
        self.post_message(self.Ready(planned))
        self._answer(planned)
        self.refresh_bindings()

    def _refuse(self, why: str) -> None:
        self._planning = None
        self._put(one_line(why), error=True)
        self._tell(_REFUSED)
        self._answer(None, _REFUSED)

    def _put(self, text: str, *, error: bool = False) -> None:
        self.set_class(error, "error")
        self.update(text)

    def _tell(self, text: str) -> None:
        self.post_message(Told(text))
