"""One request and its answer: work that ends when its caller hangs up, and errors in the form of its protocol."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from edgespec.serve.answers import Answers
from edgespec.serve.errors import ApiError, anthropic_error, openai_error, response_error
from edgespec.serve.fields import Fields, parse_body
from edgespec.session.shared.asked import Told

log = logging.getLogger(__name__)

MOST_BODY_BYTES: Final = 16 << 20
"""A context of a million tokens has some 5 MB."""
_BODY_S: Final = 30.0
_PING_S: Final = 15.0
"""A stream that is silent for so long gets a comment, lest somebody between takes it for dead."""
_SSE: Final = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"))

Event = Mapping[str, object] | str
_as_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Made once: `json.dumps` makes an encoder for every value."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a protocol has of its own."""

    error: Callable[[ApiError], dict[str, object]]
    names_events: bool
    """Whether each event of a stream begins with its type."""


OPENAI: Final = Form(openai_error, names_events=False)
RESPONSES: Final = Form(response_error, names_events=True)
ANTHROPIC: Final = Form(anthropic_error, names_events=True)


class Exchange:
    """What an endpoint has of its request, and where its answer goes.

    Args:
        scope: Of ASGI.
        receive: Likewise.
        send: Likewise.
        form: Of what is sent.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, form: "Form") -> None:
        self.request = Request(scope, receive)
        self._send, self._form = send, form
        self.status = 0
        self.has_begun = self.is_stream = False
        self.fields = Fields({})
        self._pushed_s = 0.0
        """When something was sent of a stream."""

    async def read(self) -> None:
        """Reads the body.

        Raises:
            ApiError: it is too large, too slow, or no JSON object.
        """
        self._check_kind()
        try:
            async with asyncio.timeout(_BODY_S):
                body = b"".join([part async for part in self._parts()])
        except TimeoutError:
            raise ApiError(
                408, f"the body did not come within {_BODY_S:g} seconds", None, "timeout"
            ) from None
        self.fields = parse_body(body)

    async def _parts(self) -> AsyncIterator[bytes]:
        n_bytes = int(self.request.headers.get("content-length", "0"))
        _check_size(n_bytes)
        n_bytes = 0
        async for part in self.request.stream():
            n_bytes += len(part)
            _check_size(n_bytes)
            yield part

    def _check_kind(self) -> None:
        headers = self.request.headers
        kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        # `curl -d` says that of any text; a form of a page says where it comes from, too.
        is_unsaid = kind == "application/x-www-form-urlencoded" and "origin" not in headers
        if kind != "application/json" and not kind.endswith("+json") and not is_unsaid:
            said = f"the body is {kind[:80]!r}; send JSON, with the header Content-Type: application/json"
            raise ApiError(415, said, None, "unsupported_media_type")

    async def reply(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Sends JSON."""
        await self.reply_bytes(_as_json(value).encode(), "application/json", status, headers)

    async def reply_bytes(
        self, body: bytes, kind: str, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Sends a body of any kind."""
        raw = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        raw += [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        self.has_begun, self.status = True, status
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})

    async def begin_stream(self) -> None:
        """Sends the head of a stream of events."""
        self.has_begun = self.is_stream = True
        self.status = 200
        self._pushed_s = asyncio.get_running_loop().time()
        await self._send({"type": "http.response.start", "status": 200, "headers": list(_SSE)})

    async def push(self, events: Sequence[Event]) -> None:
        """Sends events in one piece: what comes together costs one waking."""
        if events:
            await self._push("".join(map(self._written, events)).encode())

    def _written(self, event: Event) -> str:
        data = event if isinstance(event, str) else _as_json(event)
        if self._form.names_events and not isinstance(event, str):
            return f"event: {event['type']}\ndata: {data}\n\n"
        return f"data: {data}\n\n"

    async def _push(self, body: bytes) -> None:
        self._pushed_s = asyncio.get_running_loop().time()
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end_stream(self) -> None:
        """Sends the end."""
        await self._send({"type": "http.response.body", "body": b""})

    @contextmanager
    def kept_awake(self, answers: Answers) -> Iterator[None]:
        """Its stream gets a comment whenever it was silent for long, while the block runs."""
        loop = asyncio.get_running_loop()
        looking: asyncio.TimerHandle

        def look() -> None:
            nonlocal looking
            silent_s = loop.time() - self._pushed_s
            if silent_s >= _PING_S:
                answers.wake()
                silent_s = 0.0
            looking = loop.call_later(_PING_S - silent_s, look)

        # One timer for the stream: with a limit for every wait, each piece of text set a timer up and down.
        looking = loop.call_later(_PING_S, look)
        try:
            yield
        finally:
            looking.cancel()

    async def next_of(self, answers: Answers) -> list[Told]:
        """What is told next.

        Raises:
            ApiError: as of `Answers.next`.
        """
        while not (told := await answers.next()):
            await self._push(b": waiting\n\n")
        return told

    async def fail(self, error: ApiError) -> None:
        """Tells what went wrong: with a status, or as an event of the stream that has begun."""
        body = self._form.error(error)
        if not self.has_begun:
            retry = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
            await self.reply(body, error.status, retry)
        elif self.is_stream:
            await self.push([body])
            await self.end_stream()


def _check_size(n_bytes: int) -> None:
    if n_bytes > MOST_BODY_BYTES:
        said = f"the body has {n_bytes} bytes or more; the most are {MOST_BODY_BYTES}"
        raise ApiError(413, said, None, "request_too_large")


Work = Callable[[Exchange], Awaitable[None]]


class Endpoint:
    """An ASGI application for one route: its work is cancelled when the caller hangs up.

    Args:
        work: Answers a request.
        reads_body: Whether it has one.
        form: Of what is sent.
        ended: Told of every exchange that is over.
    """

    def __init__(
        self, work: Work, *, reads_body: bool, form: Form, ended: Callable[[Exchange], None]
    ) -> None:
        self._work, self._reads_body, self._form, self._ended = work, reads_body, form, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        exchange = Exchange(scope, receive, send, self._form)
        try:
            await self._answer(exchange, receive)
        finally:
            self._ended(exchange)

    async def _answer(self, exchange: Exchange, receive: Receive) -> None:
        try:
            if self._reads_body:
                await exchange.read()
        except ApiError as error:
            await exchange.fail(error)
            return
        except ClientDisconnect:
            return
        work = asyncio.create_task(self._run(exchange))
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.wait([work, gone])

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._work(exchange)
        except ApiError as error:
            await exchange.fail(error)
        except Exception as error:
            log.error("unexpected", exc_info=error)
            said = f"unexpected {type(error).__name__}; the server's log has the details"
            with suppress(Exception):
                await exchange.fail(ApiError(500, said, None, "internal_error"))


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
