"""The chat's engine as the app sees it: what is loaded, whether it is busy, and who wants to hear of it."""

import asyncio
from collections import deque
from enum import StrEnum
from typing import Final

from textual.message_pump import MessagePump

from edgespec.bench.result import BenchResult
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
from tui.services.messages import EngineChanged, WorkerReported

_LOG_LINES: Final = 2000


class EngineState(StrEnum):
    """What the engine is doing."""

    CLOSED = "closed"
    """Nothing is loaded: not asked for yet, or a measurement wanted the machine for itself."""
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    DEAD = "dead"


class EngineClient:
    """Owns the worker that chats. One at a time; screens and widgets subscribe to what it says."""

    def __init__(self, make_worker: WorkerFactory) -> None:
        self._make_worker = make_worker
        self._worker: Worker | None = None
        self._opening: OpenPair | None = None
        self._freeing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: dict[MessagePump, tuple[type, ...]] = {}
        self.state = EngineState.CLOSED
        self.pair: PairOpened | None = None
        self.request: OpenPair | None = None
        """What was opened last, for starting again."""
        self.races: dict[str, BenchResult] = {}
        """Target -> its last race."""
        self.log: deque[str] = deque(maxlen=_LOG_LINES)

    def subscribe(self, listener: MessagePump, *kinds: type) -> None:
        """Posts `EngineChanged` to it from now on, and `WorkerReported` for the events of these kinds."""
        self._listeners[listener] = kinds

    def unsubscribe(self, listener: MessagePump) -> None:
        """No more of them."""
        self._listeners.pop(listener, None)

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked something now."""
        return self.state is EngineState.READY

    def open(self, request: OpenPair) -> None:
        """Loads a pair in a new process, when the one from before has ended."""
        self.request = self._opening = request
        before, self._worker = self._worker, None
        self._change(EngineState.LOADING)
        task = asyncio.create_task(self._serve(request, before))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
        """Frees the models and the process: a measurement wants the machine for itself."""
        self._opening = None
        worker, self._worker = self._worker, None
        self._change(EngineState.CLOSED)
        await self._free(worker)

    async def _serve(self, request: OpenPair, before: Worker | None) -> None:
        """Runs a worker from here to its end."""
        await self._free(before)
        if self._opening is not request:
            return
        worker = self._worker = self._make_worker()
        worker.send(request)
        async for event in worker.events():
            if self._worker is worker:
                self._follow(event)
                self._report(event)

    async def _free(self, worker: Worker | None) -> None:
        """Ends a worker; first comes whichever is being ended already, so that no two fill the memory."""
        async with self._freeing:
            if worker is not None:
                await worker.close()

    def _follow(self, event: AnyEvent) -> None:
        match event:
            case PairOpened():
                self._change(EngineState.READY, event)
            case RaceAdvanced(is_last=True) as raced:
                self.races[raced.result.target] = raced.result
                self.state = EngineState.READY
            case Answered():
                self.state = EngineState.READY
            case RequestFailed() if self.pair is not None:
                self.state = EngineState.READY
            case RequestFailed():
                self._change(EngineState.CLOSED)
            case WorkerDied(cause):
                self._worker = None
                self.log.append(f"the engine {cause}")
                self._change(EngineState.DEAD)
            case Logged(line):
                self.log.append(one_line(line))
            case _:
                pass

    def _change(self, state: EngineState, pair: PairOpened | None = None) -> None:
        self.state, self.pair = state, pair
        for listener in list(self._listeners):
            listener.post_message(EngineChanged())

    def _report(self, event: AnyEvent) -> None:
        for listener, kinds in list(self._listeners.items()):
            if isinstance(event, kinds):
                listener.post_message(WorkerReported(event, self))
