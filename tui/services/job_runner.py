"""Work beside the chat: each piece in a process of its own, told to the screen that began it."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from textual.message_pump import MessagePump

from edgespec.worker.protocol import (
    AnyEvent,
    Job,
    JobFinished,
    Pause,
    Progressed,
    RequestFailed,
    Resume,
    RunJob,
    Stop,
    Worker,
    WorkerDied,
)
from tui.services.launch import WorkerFactory
from tui.services.messages import WorkerReported


@dataclass(eq=False, slots=True)
class RunningJob:
    """A job under way. `WorkerReported.source` is this object."""

    job: Job
    owner: MessagePump
    worker: Worker
    paused: bool = False
    ended: bool = False
    _began_s: float = field(default_factory=monotonic)
    _began_at: float = 0.0
    _paused_s: float = 0.0
    _last: Progressed | None = None

    def stop(self) -> None:
        """Ends it; what was finished is kept."""
        self.paused = False
        self.worker.send(Stop())

    def toggle_pause(self) -> None:
        """Holds it at its next step, or lets it go on."""
        self.paused = not self.paused
        if self.paused:
            self._paused_s = monotonic()
        else:
            self._began_s += monotonic() - self._paused_s
        self.worker.send(Pause() if self.paused else Resume())

    def eta_s(self, event: Progressed) -> float | None:
        """Time left in a stage, at the pace so far; None while there is nothing to go by.

        A stage begins with another label and another total, or with less that is done. What was done before it was
        seen, as in a fetch that goes on, says nothing of the pace.
        """
        now = monotonic()
        if self._last is None or _is_other_stage(self._last, event):
            self._began_s, self._began_at = now, event.done
        self._last = event
        gained, spent = event.done - self._began_at, now - self._began_s
        if event.total is None or gained <= 0 or event.total <= event.done or spent < 1.0:
            return None
        return spent / gained * (event.total - event.done)


class JobRunner:
    """Starts jobs and ends them with the app."""

    def __init__(self, make_worker: WorkerFactory) -> None:
        self._make_worker = make_worker
        self._tasks: dict[RunningJob, asyncio.Task[None]] = {}

    @property
    def is_busy(self) -> bool:
        """Whether any is under way."""
        return bool(self._tasks)

    def start(self, job: Job, owner: MessagePump) -> RunningJob:
        """Runs a job; `owner` is posted `WorkerReported` until `JobFinished`, `RequestFailed` or `WorkerDied`."""
        running = RunningJob(job, owner, self._make_worker())
        running.worker.send(RunJob(job))
        self._tasks[running] = asyncio.create_task(self._follow(running))
        return running

    def cancel(self, running: RunningJob) -> None:
        """Ends the process at once, for work that no stop gets through to."""
        running.ended = True
        task = self._tasks.get(running)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Ends all of them, and waits for those that are ending."""
        tasks = dict(self._tasks)
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        # A worker that was closing already was cut short in that.
        await asyncio.gather(*(running.worker.close() for running in tasks))

    async def _follow(self, running: RunningJob) -> None:
        try:
            async for event in running.worker.events():
                running.owner.post_message(WorkerReported(event, running))
                if _is_last(event):
                    return
        finally:
            running.ended = True
            try:
                await running.worker.close()
            finally:
                self._tasks.pop(running, None)


def _is_other_stage(before: Progressed, now: Progressed) -> bool:
    named = before.label.split(":")[0] != now.label.split(":")[0]
    return now.done < before.done or (named and now.total != before.total)


def _is_last(event: AnyEvent) -> bool:
    return isinstance(event, JobFinished | RequestFailed | WorkerDied)
