"""A worker that lets a server answer: the app and it speak as with a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from time import monotonic
from typing import Final

from edgespec.chat.thoughts import Parts
from edgespec.decode.policy import Mode
from edgespec.decode.token import DraftSource
from edgespec.errors import ContextOverflowError, EdgespecError
from edgespec.worker.protocol import (
    BATCH_S,
    Answer,
    Answered,
    AnyEvent,
    ChangeDraft,
    ChangeMode,
    CountTokens,
    OpenPair,
    PairOpened,
    Pause,
    Piece,
    Progressed,
    Request,
    RequestFailed,
    Resume,
    RunJob,
    RunRace,
    Stop,
    TokensArrived,
)
from edgespec.worker.remote.address import ServerAddress
from edgespec.worker.remote.server import RemoteAnswer, RemoteServer

_STOPPED: Final = RequestFailed("stopped", interrupted=True)


class RemoteWorker:
    """`Worker` over HTTP. It outlives every failure of the server: the next request finds it again, or says that it does not.

    Args:
        address: Of the server.
    """

    def __init__(self, address: ServerAddress) -> None:
        self._server = RemoteServer(address, self._tell)
        self._requests: asyncio.Queue[Request] = asyncio.Queue()
        self._events: asyncio.Queue[AnyEvent | None] = asyncio.Queue()
        self._current: asyncio.Task[None] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._closed = False

    def send(self, request: Request) -> None:
        """Asks for something; a stop ends what is being done, and else what waits."""
        if not isinstance(request, Stop):
            self._requests.put_nowait(request)
        elif self._current is not None:
            self._current.cancel()
        else:
            while not self._requests.empty():
                self._requests.get_nowait()
                self._events.put_nowait(_STOPPED)

    async def events(self) -> AsyncIterator[AnyEvent]:
        """Yields what the server's answers become, until it is closed."""
        if self._closed:
            return
        self._serving = asyncio.create_task(self._serve())
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        """Ends what is being done, and the connections."""
        self._closed = True
        tasks = [task for task in (self._current, self._serving) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.aclose()
        self._events.put_nowait(None)

    async def _serve(self) -> None:
        while True:
            request = await self._requests.get()
            self._current = asyncio.create_task(self._attempt(request))
            await asyncio.wait([self._current])
            if self._current.cancelled():
                self._events.put_nowait(_STOPPED)
            self._current = None

    async def _attempt(self, request: Request) -> None:
        try:
            await self._do(request)
        except EdgespecError as error:
            context_full = isinstance(error, ContextOverflowError)
            self._events.put_nowait(RequestFailed(error.message, error.hint, context_full=context_full))
        except Exception as error:
            self._events.put_nowait(
                RequestFailed(f"{type(error).__name__}: {error}", "this is a bug in edgespec")
            )

    async def _do(self, request: Request) -> None:
        match request:
            case OpenPair(target):
                model = await self._server.open(target)
                self._events.put_nowait(
                    PairOpened(
                        model.name,
                        model.draft,
                        Mode.AUTO,
                        model.n_ctx,
                        0.0,
                        0,
                        server=self._server.address.url,
                    )
                )
            case Answer():
                await self._answer(request)
            case _:
                self._events.put_nowait(RequestFailed(*_refusal(request)))

    async def _answer(self, request: Answer) -> None:
        answer = self._server.ask(request, structure=request.structure)
        batch = _Batch()
        try:
            async with aclosing(answer.pieces()) as pieces:
                async for parts in pieces:
                    batch.add(parts)
                    if batch.is_due:
                        self._flush(batch, answer)
        except asyncio.CancelledError:
            answer.stats.stopped = "interrupted"
        finally:
            self._flush(batch, answer)
        self._events.put_nowait(Answered(answer.stats, 0, answer.notes))

    def _flush(self, batch: "_Batch", answer: RemoteAnswer) -> None:
        parts, calls = batch.take(), answer.take_calls()
        if parts or calls:
            self._events.put_nowait(replace(_arrived(parts or Parts(), answer), calls=calls))

    def _tell(self, text: str) -> None:
        self._events.put_nowait(Progressed(text, 0, None))


class _Batch:
    """What has come since the front door was told; the first piece is due at once."""

    def __init__(self) -> None:
        self._parts = Parts()
        self._sent_s = 0.0

    def add(self, parts: Parts) -> None:
        self._parts += parts

    @property
    def is_due(self) -> bool:
        return monotonic() - self._sent_s >= BATCH_S

    def take(self) -> Parts | None:
        """All of it; None where there is nothing."""
        parts, self._parts = self._parts, Parts()
        if not (parts.answer or parts.thought):
            return None
        self._sent_s = monotonic()
        return parts


def _arrived(parts: Parts, answer: RemoteAnswer) -> TokensArrived:
    stats = answer.stats
    # The server does not tell who thought of a token.
    pieces = (Piece(parts.answer, DraftSource.TARGET),) if parts.answer else ()
    return TokensArrived(
        pieces,
        stats.predicted_n,
        answer.decode_s,
        stats.draft_n,
        stats.draft_n_accepted,
        target_passes=0,
        plain_tok_per_s=0.0,
        memory_bytes=0,
        thought=parts.thought,
        thought_n=stats.thought_n,
        thought_s=stats.thought_s,
        prompt_n=stats.prompt_n,
    )


def _refusal(request: Request) -> tuple[str, str]:
    """What is not to be had from a server, and where it is."""
    match request:
        case ChangeMode():
            return "the server decides how it drafts", "start it with another `draft`"
        case CountTokens():
            return "the server does not count tokens for others", "ask it"
        case ChangeDraft():
            return "the server decides what it drafts with", "start it with another `draft`"
        case RunRace():
            return "a race needs the models on this machine", "start the app without `server`"
        case RunJob() | Pause() | Resume() | Stop() | OpenPair() | Answer():
            return "a server does no such work", "start the app without `server`"
