"""Fetching models from the models screen: start, pause, go on, cancel, and a bar that shows how far it is."""

import asyncio
from functools import partial
from typing import Final

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import ProgressBar, Static

from edgespec.catalog.resolve import ResolvedModel, arrived_bytes, discard_arrived, entry_of
from edgespec.errors import EdgespecError
from edgespec.text import human_bytes, one_line
from edgespec.worker.jobs.pull import PullJob
from edgespec.worker.protocol import JobFinished, Logged, Progressed, RequestFailed, WorkerDied
from tui.common.ask import AskScreen
from tui.models.pulls import Ending, Pull
from tui.models.rows import ModelRow
from tui.models.shelf import ShelfScreen
from tui.services.app_services import AppServices
from tui.services.job_runner import RunningJob
from tui.services.messages import WorkerReported

_LARGE_BYTES: Final = 2 << 30
"""From here on a question comes first."""
_PATIENCE_S: Final = 5.0
"""A fetch that does not hear a stop by then is ended the hard way."""
_NONE_RUNS: Final = "nothing is being fetched: p fetches the highlighted model"


class PullingScreen(ShelfScreen):
    """Owns the fetches. A pause ends the process: what arrived stays, and going on starts from there."""

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self._pulls: dict[RunningJob, Pull] = {}
        self._paused: set[str] = set()
        """Specs that were paused here: Space goes on with them even where nothing could be kept."""

    def compose_body(self) -> ComposeResult:
        """The bar stands above the status."""
        for widget in super().compose_body():
            if widget.id == "models-status":
                with Horizontal(id="models-pull"):
                    yield ProgressBar(total=1.0, show_eta=False)
                    yield Static("", id="models-pull-text", markup=False)
            yield widget

    def on_mount(self) -> None:
        """No fetch, no bar."""
        self.query_one("#models-pull").display = False

    # What the keys mean.

    def has_pull(self) -> bool:
        """Whether pause and cancel have something to act on."""
        row = self.row
        return bool(self._pulls) or (row is not None and self._is_paused(row))

    def action_pull(self) -> None:
        """Fetches the highlighted model."""
        row = self.row
        if row is None:
            return
        if row.is_here:
            self.tell(f"{row.name} is here already: {row.path}")
        else:
            self.pull(row)

    def action_pause(self) -> None:
        """Pauses the fetch of the highlighted model, or goes on with it."""
        row = self.row
        if row is not None and self._find(row.spec) is None and self._is_paused(row):
            self.pull(row)
        elif (running := self._meant()) is not None:
            self._stop(running, Ending.PAUSE)
        else:
            self.tell(_NONE_RUNS)

    @work(exclusive=True, group="cancel")
    async def action_cancel_pull(self) -> None:
        """Ends the fetch of the highlighted model and removes what arrived."""
        row = self.row
        is_left = row is not None and self._find(row.spec) is None and self._is_paused(row)
        running = None if is_left else self._meant()
        if row is None or (running is None and not is_left):
            self.tell(_NONE_RUNS)
            return
        pull = self._pulls.get(running) if running else None
        arrived = pull.newest.done if pull is not None and pull.newest is not None else row.arrived
        if arrived >= _LARGE_BYTES:
            question = f"Throw away the {human_bytes(arrived)} that have arrived?"
            if not await self.app.push_screen_wait(AskScreen(question, "Throw away", "Keep")):
                return
        if running is None:
            await self._discard(row.spec)
        elif running in self._pulls:
            self._stop(running, Ending.DISCARD)

    @work(exclusive=True, group="pull")
    async def pull(self, row: ModelRow) -> None:
        """Fetches a model; large ones after a question."""
        if self._find(row.spec) is not None:
            self.tell(f"{row.name} is being fetched: Space pauses it, x ends it")
            return
        if row.size_bytes is None or row.size_bytes - row.arrived > _LARGE_BYTES:
            size = "size not known" if row.size_bytes is None else human_bytes(row.size_bytes - row.arrived)
            question = f"Fetch {row.name}? {size}, licence {row.licence or 'not known'}."
            question += f"\n\nFor the memory that is free it is {row.fit}." if row.size_bytes else ""
            if not await self.app.push_screen_wait(AskScreen(question, "Fetch", "Not now")):
                return
        self._paused.discard(row.spec)
        running = self.services.jobs.start(PullJob(row.spec, self.services.launch.offline), self)
        self._pulls[running] = Pull(row.spec)
        self.tell(f"fetching {row.name}: Space pauses and keeps what came, x throws it away")
        self._show_pulls()

    def _find(self, spec: str) -> RunningJob | None:
        return next((running for running, pull in self._pulls.items() if pull.spec == spec), None)

    def _meant(self) -> RunningJob | None:
        """The fetch of the highlighted model; of another where that one has none."""
        row = self.row
        own = self._find(row.spec) if row is not None else None
        return own or next(iter(self._pulls), None)

    def _is_paused(self, row: ModelRow) -> bool:
        return not row.is_here and (row.arrived > 0 or row.spec in self._paused)

    def _stop(self, running: RunningJob, ending: Ending) -> None:
        pull = self._pulls[running]
        if pull.ending is Ending.NONE:
            running.stop()
            self.set_timer(_PATIENCE_S, partial(self._end_hard, running))
        pull.ending = ending
        self._show_pulls()

    def _end_hard(self, running: RunningJob) -> None:
        if running in self._pulls:
            self.services.jobs.cancel(running)
            self._stopped(running)

    # What the fetches say.

    @on(WorkerReported)
    def _pull_reported(self, message: WorkerReported) -> None:
        running = message.source
        if not isinstance(running, RunningJob) or running not in self._pulls:
            return
        match message.event:
            case Progressed() as progressed:
                self._pulls[running].add(progressed)
                self._show_pulls()
            case JobFinished(ResolvedModel() as found):
                self._end(running, f"fetched {found.name}: Enter chats with it")
            case RequestFailed(interrupted=True):
                self._stopped(running)
            case RequestFailed() as failed:
                self._end(running, f"{failed.message} {failed.hint}", error=True)
            case WorkerDied(cause):
                name = self._pulls[running].spec
                self._end(running, f"the fetch of {name} {cause}; p goes on with it", error=True)
            case Logged(line):
                self.services.engine.log.append(one_line(line))
            case _:
                pass

    def _end(self, running: RunningJob, text: str, *, error: bool = False) -> None:
        self._pulls.pop(running, None)
        self._show_pulls()
        self.tell(text, error=error)
        self.services.models_changed()

    @work(group="pull-end")
    async def _stopped(self, running: RunningJob) -> None:
        pull = self._pulls.pop(running, None)
        if pull is None:
            return
        self._show_pulls()
        if pull.ending is Ending.DISCARD:
            await self._discard(pull.spec)
            return
        self._paused.add(pull.spec)
        kept = await asyncio.to_thread(self._arrived, pull.spec)
        what = f"{human_bytes(kept)} are kept" if kept else "nothing was kept"
        self.tell(f"paused {pull.spec}: {what}; Space goes on, x throws them away")
        self.services.models_changed()

    async def _discard(self, spec: str) -> None:
        self._paused.discard(spec)
        try:
            await asyncio.to_thread(self._discard_now, spec)
        except (EdgespecError, OSError) as error:
            self.tell(f"what arrived of {spec} cannot be removed: {error}", error=True)
            return
        self.tell(f"ended the fetch of {spec}; what had arrived was removed")
        self.services.models_changed()

    def _arrived(self, spec: str) -> int:
        entry = entry_of(spec, self.shelf.catalog) if self.shelf else None
        return arrived_bytes(entry) if entry else 0

    def _discard_now(self, spec: str) -> None:
        entry = entry_of(spec, self.shelf.catalog) if self.shelf else None
        if entry is not None:
            discard_arrived(entry)

    # How far they are.

    def here_text(self, row: ModelRow) -> str:
        """While it is fetched, how far that is."""
        running = self._find(row.spec)
        if running is None:
            return super().here_text(row)
        fraction = self._pulls[running].fraction
        return "fetching" if fraction is None else f"fetching {fraction:.0%}"

    def _show_pulls(self) -> None:
        """The bar of the highlighted model's fetch, or of the first."""
        running = self._meant()
        self.query_one("#models-pull").display = running is not None
        if running is not None:
            pull = self._pulls[running]
            bar = self.query_one(ProgressBar)
            bar.update(total=1.0 if pull.fraction is not None else None, progress=pull.fraction or 0.0)
            others = len(self._pulls) - 1
            more = f" · {others} more" if others else ""
            self.query_one("#models-pull-text", Static).update(one_line(pull.describe() + more))
        self.refresh_cells("here")
        self.refresh_bindings()
