"""Downloads of the models screen: start, pause, go on, cancel, and a bar that shows how far one is."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import ProgressBar, Static

from edgespec.catalog.resolve import ResolvedModel
from edgespec.catalog.sources.arrived import arrived_bytes, discard_arrived
from edgespec.errors import EdgespecError
from edgespec.text import human_bytes, one_line
from edgespec.worker.jobs.pull import PullJob
from edgespec.worker.protocol import JobFinished, Logged, Progressed, RequestFailed, WorkerDied
from tui.common.ask import AskScreen
from tui.common.status_line import Told
from tui.models.download import Download, Ending
from tui.models.rows import ModelRow
from tui.services.app_services import AppServices
from tui.services.job_runner import RunningJob
from tui.services.messages import WorkerReported

_LARGE_BYTES: Final = 2 << 30
"""From here on a question comes first."""
_PATIENCE_S: Final = 5.0
"""A download that does not hear a stop by then is ended the hard way."""
_NONE_RUNS: Final = "nothing is being fetched; p fetches the highlighted model"


class Downloads(Horizontal):
    """Owns the downloads, and is the bar of one. A pause ends the process: what arrived stays, and going on starts there."""

    @dataclass
    class Advanced(Message):
        """One came further, began or ended."""

        texts: Mapping[str, str]
        """How far each is, by its model's spec."""

    def __init__(self, services: AppServices) -> None:
        super().__init__(id="downloads")
        self._services = services
        self._downloads: dict[RunningJob, Download] = {}
        self._paused: set[str] = set()
        """Specs that were paused here: Space goes on with them even where nothing could be kept."""
        self._row: ModelRow | None = None

    def compose(self) -> ComposeResult:
        """Bar and figures."""
        yield ProgressBar(total=1.0, show_eta=False)
        yield Static("", id="downloads-text", markup=False)

    def on_mount(self) -> None:
        """No download, no bar."""
        self.display = False

    @property
    def has_one(self) -> bool:
        """Whether pause and cancel have something to act on."""
        return bool(self._downloads) or (self._row is not None and self._is_paused(self._row))

    def highlight(self, row: ModelRow | None) -> None:
        """Which model the keys mean from now on."""
        self._row = row

    # What the keys mean.

    @work(exclusive=True, group="download")
    async def start(self, row: ModelRow) -> None:
        """Downloads a model; large ones after a question."""
        if self._find(row.spec) is not None:
            self._tell(f"{row.name} is being fetched: Space pauses it, x ends it")
            return
        if row.size_bytes is None or row.size_bytes - row.arrived > _LARGE_BYTES:
            size = "size not known" if row.size_bytes is None else human_bytes(row.size_bytes - row.arrived)
            question = f"Fetch {row.name}? {size}, licence {row.licence or 'not known'}."
            question += f"\n\nFor the memory that is free it is {row.fit}." if row.size_bytes else ""
            if not await self.app.push_screen_wait(AskScreen(question, "Fetch", "Not now")):
                return
        self._paused.discard(row.spec)
        running = self._services.jobs.start(PullJob(row.spec, self._services.launch.offline), self)
        self._downloads[running] = Download(row)
        self._tell(f"fetching {row.name}: Space pauses, x cancels and discards")
        self._show()

    def pause(self) -> None:
        """Pauses the download of the highlighted model, or goes on with it."""
        row = self._row
        if row is not None and self._is_left(row):
            self.start(row)
        elif (running := self._meant()) is not None:
            self._stop(running, Ending.PAUSE)
        else:
            self._tell(_NONE_RUNS)

    @work(exclusive=True, group="cancel")
    async def cancel(self) -> None:
        """Ends the download of the highlighted model and removes what arrived."""
        row = self._row
        if row is not None and self._is_left(row):
            if await self._may_discard(row.arrived):
                await self._discard(row)
        elif (running := self._meant()) is None:
            self._tell(_NONE_RUNS)
        elif await self._may_discard(self._downloads[running].arrived) and running in self._downloads:
            self._stop(running, Ending.DISCARD)

    async def _may_discard(self, arrived: float) -> bool:
        """Asks before much is thrown away."""
        if arrived < _LARGE_BYTES:
            return True
        question = f"Discard the {human_bytes(arrived)} downloaded so far?"
        return await self.app.push_screen_wait(AskScreen(question, "Discard", "Keep"))

    def _find(self, spec: str) -> RunningJob | None:
        return next((job for job, download in self._downloads.items() if download.row.spec == spec), None)

    def _meant(self) -> RunningJob | None:
        """The download of the highlighted model; of another where that one has none."""
        own = self._find(self._row.spec) if self._row is not None else None
        return own or next(iter(self._downloads), None)

    def _is_paused(self, row: ModelRow) -> bool:
        return not row.is_here and (row.arrived > 0 or row.spec in self._paused)

    def _is_left(self, row: ModelRow) -> bool:
        return self._is_paused(row) and self._find(row.spec) is None

    def _stop(self, running: RunningJob, ending: Ending) -> None:
        download = self._downloads[running]
        if download.ending is Ending.NONE:
            running.stop()
            self.set_timer(_PATIENCE_S, partial(self._end_hard, running))
        download.ending = ending
        self._show()

    def _end_hard(self, running: RunningJob) -> None:
        if running in self._downloads:
            self._services.jobs.cancel(running)
            self._stopped(running)

    # What the downloads say.

    @on(WorkerReported)
    def _job_reported(self, message: WorkerReported) -> None:
        running = message.source
        if not isinstance(running, RunningJob) or running not in self._downloads:
            return
        match message.event:
            case Progressed() as progressed:
                self._downloads[running].add(progressed)
                self._show()
            case JobFinished(ResolvedModel() as found):
                self._end(running, f"fetched {found.name}: Enter chats with it")
            case RequestFailed(interrupted=True):
                self._stopped(running)
            case RequestFailed() as failed:
                self._end(running, f"{failed.message} {failed.hint}", error=True)
            case WorkerDied(cause):
                spec = self._downloads[running].row.spec
                self._end(running, f"the fetch of {spec} {cause}; p resumes it", error=True)
            case Logged(line):
                self._services.engine.log.append(one_line(line))
            case _:
                pass

    def _end(self, running: RunningJob, text: str, *, error: bool = False) -> None:
        self._downloads.pop(running, None)
        self._show()
        self._tell(text, error=error)
        self._services.models_changed()

    @work(group="download-end")
    async def _stopped(self, running: RunningJob) -> None:
        download = self._downloads.pop(running, None)
        if download is None:
            return
        self._show()
        row = download.row
        if download.ending is Ending.DISCARD:
            await self._discard(row)
            return
        self._paused.add(row.spec)
        kept = await asyncio.to_thread(arrived_bytes, row.entry) if row.entry else 0
        what = f"{human_bytes(kept)} kept" if kept else "nothing kept"
        self._tell(f"paused {row.spec}: {what}; Space resumes, x discards")
        self._services.models_changed()

    async def _discard(self, row: ModelRow) -> None:
        self._paused.discard(row.spec)
        try:
            if row.entry is not None:
                await asyncio.to_thread(discard_arrived, row.entry)
        except (EdgespecError, OSError) as error:
            self._tell(f"what arrived of {row.spec} cannot be removed: {error}", error=True)
            return
        self._tell(f"cancelled {row.spec}; the partial download was deleted")
        self._services.models_changed()

    def _tell(self, text: str, *, error: bool = False) -> None:
        self.post_message(Told(text, error))

    def _show(self) -> None:
        """The bar of the highlighted model's download, or of the first."""
        running = self._meant()
        self.display = running is not None
        if running is not None:
            download = self._downloads[running]
            fraction = download.fraction
            self.query_one(ProgressBar).update(
                total=None if fraction is None else 1.0, progress=fraction or 0.0
            )
            others = len(self._downloads) - 1
            more = f" · {others} more" if others else ""
            self.query_one("#downloads-text", Static).update(one_line(download.describe() + more))
        texts = {download.row.spec: download.here_text for download in self._downloads.values()}
        self.post_message(self.Advanced(texts))
