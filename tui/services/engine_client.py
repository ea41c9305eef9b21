"""The chat's engine as the app sees it: what is loaded, whether it is busy, and who wants to hear of it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from enum import StrEnum
from typing import Final

from textual.message_pump import MessagePump

from edgespec.bench.result import BenchResult
from edgespec.text import one_line
from edgespec.worker.jobs.find import FindJob
from edgespec.worker.protocol import (
    Answer,
    Answered,
    AnyEvent,
    JobFinished,
    Logged,
    OpenPair,
    PairOpened,
    RaceAdvanced,
    Request,
    RequestFailed,
    RunJob,
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
    """Owns the worker that chats. One at a time; screens and widgets subscribe to what it says.

    Args:
        make_worker: Makes the next one.
        finds_first: Whether what a pair would be made of can be looked for beside the one that is loaded; a server's models are
            opened at once, which costs the one before nothing.
    """

    def __init__(self, make_worker: WorkerFactory, *, finds_first: bool = True) -> None:
        self._make_worker, self._finds_first = make_worker, finds_first
        self._worker: Worker | None = None
        self._finder: Worker | None = None
        """Looks for another pair while the worker goes on."""
        self._opening: OpenPair | None = None
        self._opened: OpenPair | None = None
        """What was loaded last, to go back to."""
        self._rested = asyncio.Event()
        """Set while nothing is being answered."""
        self._freeing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: dict[MessagePump, tuple[type, ...]] = {}
        self._state = EngineState.CLOSED
        self._rested.set()
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
    def state(self) -> EngineState:
        """What it is doing."""
        return self._state

    @state.setter
    def state(self, state: EngineState) -> None:
        self._state = state
        if state is EngineState.BUSY:
            self._rested.clear()
        else:
            self._rested.set()

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked something now."""
        return self.state is EngineState.READY

    @property
    def is_looking(self) -> bool:
        """Whether another pair is looked for, while the one that is loaded answers on."""
        return self._opening is not None and self._opening is not self.request

    @property
    def wanted(self) -> OpenPair | None:
        """What is loaded, or will be where it is found."""
        return self._opening or self.request

    @property
    def goes_back(self) -> bool:
        """Whether the pair is being loaded again that another one could not take the place of."""
        return self.state is EngineState.LOADING and self.request is self._opened

    def open(self, request: OpenPair) -> None:
        """Loads a pair in a new process.

        A pair that is loaded answers on until the files of the other are found; it stays where they are not, and is loaded again
        where the other cannot be. Who listens hears `RequestFailed` then, and `request` is what is, or will be, loaded.
        """
        self._opening = request
        finder, self._finder = self._finder, None
        if finder is not None:
            self._start(finder.close())
        before = self._opened
        is_same = before is not None and (before.target, before.draft) == (request.target, request.draft)
        if self.pair is None or is_same:
            self._start(self._load(request, self._begin(request)))
        else:
            self._start(self._switch(request))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
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
        """Ends the answer that is under way, if any; else what is being opened."""
        if self._finder is not None and self.state is not EngineState.BUSY:
            self._finder.send(Stop())
        elif self._worker is not None and self.state in (EngineState.BUSY, EngineState.LOADING):
            self._worker.send(Stop())

    async def close(self) -> None:
        """Frees the models and the process: a measurement wants the machine for itself."""
        self._opening = None
        worker, self._worker = self._worker, None
        finder, self._finder = self._finder, None
        self._change(EngineState.CLOSED)
        if finder is not None:
            await finder.close()
        await self._free(worker)

    async def _switch(self, request: OpenPair) -> None:
        """Looks for another pair, and loads it in the place of this one."""
        finder = self._finder = self._make_worker()
        finder.send(_looking_for(request) if self._finds_first else request)
        events = finder.events()
        async for event in events:
            if self._finder is not finder:
                return
            match event:
                case JobFinished() | PairOpened():
                    await self._rested.wait()
                    if self._opening is request:
                        await self._take_over(request, finder, events, event)
                    return
                case RequestFailed() | WorkerDied():
                    self._finder = self._opening = None
                    await finder.close()
                    self._report(_failure(event))
                    return
                case _:
                    self._follow(event)
                    self._report(event)

    async def _take_over(
        self,
        request: OpenPair,
        finder: Worker,
        events: AsyncIterator[AnyEvent],
        found: JobFinished | PairOpened,
    ) -> None:
        """Goes on with the process that has found a pair, or has opened it beside the one before."""
        before, self._finder = self._begin(request), None
        if isinstance(found, JobFinished):
            await self._load(request, before, finder, events)
            return
        self._worker = finder
        self._follow(found)
        self._report(found)
        await self._free(before)
        await self._serve(finder, events)

    def _begin(self, request: OpenPair) -> Worker | None:
        """From here on nothing is loaded; returns the worker that has to go."""
        before, self._worker = self._worker, None
        self.request = request
        self._change(EngineState.LOADING)
        return before

    async def _load(
        self,
        request: OpenPair,
        before: Worker | None,
        worker: Worker | None = None,
        events: AsyncIterator[AnyEvent] | None = None,
    ) -> None:
        """Loads a pair when the one before has left the memory, and runs its worker from here to its end."""
        await self._free(before)
        if self._opening is not request:
            if worker is not None:
                await worker.close()
            return
        self._worker = worker = worker or self._make_worker()
        worker.send(request)
        await self._serve(worker, events or worker.events())

    async def _serve(self, worker: Worker, events: AsyncIterator[AnyEvent]) -> None:
        async for event in events:
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
                self._opened = self.request
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
                if not event.interrupted:
                    self._go_back()
            case WorkerDied(cause):
                was_loading = self.state is EngineState.LOADING
                self._worker = None
                self.log.append(f"the engine {cause}")
                self._change(EngineState.DEAD)
                if was_loading:
                    self._go_back()
            case Logged(line):
                self.log.append(one_line(line))
            case _:
                pass

    def _go_back(self) -> None:
        """Loads the pair again that was loaded before the one that cannot be."""
        if self._opened is not None and self._opened is not self.request:
            self.open(self._opened)

    def _change(self, state: EngineState, pair: PairOpened | None = None) -> None:
        self.state, self.pair = state, pair
        for listener in list(self._listeners):
            listener.post_message(EngineChanged())

    def _report(self, event: AnyEvent) -> None:
        for listener, kinds in list(self._listeners.items()):
            if isinstance(event, kinds):
                listener.post_message(WorkerReported(event, self))


def _looking_for(request: OpenPair) -> RunJob:
    return RunJob(FindJob(request.target, (request.draft,), request.offline))


def _failure(event: RequestFailed | WorkerDied) -> RequestFailed:
    failed = event if isinstance(event, RequestFailed) else RequestFailed(f"the engine {event.cause}")
    return replace(failed, is_beside=True)
