"""The chat's engine as the app sees it: what is loaded, whether it is busy, and who wants to hear of it."""

import contextlib
from collections import deque
from enum import StrEnum
from typing import Final

from textual.message_pump import MessagePump

from edgespec.text import one_line
from edgespec.worker.protocol import (
    Answer,
    Answered,
    AnyEvent,
    Logged,
    OpenPair,
    PairOpened,
    RaceAdvanced,
    Request,
    RequestFailed,
    RunRace,
    Stop,
    Worker,
    WorkerDied,
)
from tui.services.launch import WorkerFactory
from tui.services.messages import WorkerReported

_LOG_LINES: Final = 2000


class EngineState(StrEnum):
    """What the engine is doing."""

    CLOSED = "closed"
    """Nothing is loaded: not asked for yet, or a measurement wanted the machine for itself."""
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    DEAD = "dead"


class EngineRoom:
    """Owns the worker that chats. One at a time; screens subscribe to what it says."""

    def __init__(self, make_worker: WorkerFactory) -> None:
        self._make_worker = make_worker
        self._worker: Worker | None = None
        self._listeners: list[MessagePump] = []
        self.state = EngineState.CLOSED
        self.pair: PairOpened | None = None
        self.request: OpenPair | None = None
        """What was opened last, for starting again."""
        self.log: deque[str] = deque(maxlen=_LOG_LINES)

    def subscribe(self, listener: MessagePump) -> None:
        """Posts `WorkerReported` to it from now on."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: MessagePump) -> None:
        """No more of them."""
        with contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked something now."""
        return self.state is EngineState.READY

    async def serve(self, request: OpenPair) -> None:
        """Runs a worker from here to its end; one from before is closed first."""
        await self.close()
        worker = self._worker = self._make_worker()
        self.request, self.state, self.pair = request, EngineState.LOADING, None
        worker.send(request)
        async for event in worker.events():
            if self._worker is not worker:
                return
            self._follow(event)
            for listener in list(self._listeners):
                listener.post_message(WorkerReported(event, self))

    def ask(self, request: Request) -> None:
        """Sends a request; answers come to the subscribers."""
        if self._worker is None:
            return
        if isinstance(request, Answer | RunRace):
            self.state = EngineState.BUSY
        self._worker.send(request)

    def stop(self) -> None:
        """Ends the answer that is under way, if any."""
        if self._worker is not None and self.state in (EngineState.BUSY, EngineState.LOADING):
            self._worker.send(Stop())

    async def close(self) -> None:
        """Frees the models and the process."""
        worker, self._worker = self._worker, None
        self.state, self.pair = EngineState.CLOSED, None
        if worker is not None:
            await worker.close()

    def _follow(self, event: AnyEvent) -> None:
        match event:
            case PairOpened():
                self.pair, self.state = event, EngineState.READY
            case Answered() | RaceAdvanced(is_last=True):
                self.state = EngineState.READY
            case RequestFailed():
                self.state = EngineState.READY if self.pair else EngineState.CLOSED
            case WorkerDied(cause):
                self.state, self.pair, self._worker = EngineState.DEAD, None, None
                self.log.append(f"the engine {cause}")
            case Logged(line):
                self.log.append(one_line(line))
            case _:
                pass
