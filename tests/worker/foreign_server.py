"""A server of OpenAI's protocol on loopback, which writes its answers byte by byte as the test says."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.cli.processes import free_port

MODEL = "foreign-1b"
EVENTS = "text/event-stream; charset=utf-8"
TIMINGS = {"prompt_n": 5, "prompt_ms": 250.0, "predicted_n": 21, "predicted_ms": 2000.0}
DRAFTED = TIMINGS | {"draft_n": 12, "draft_n_accepted": 9}
LLAMA_PROPS = {"default_generation_settings": {"n_ctx": 4096}, "total_slots": 1}
"""What makes it look like llama.cpp's own."""


def chunk(content: str | None = None, *, end: str | None = None, **more: Any) -> bytes:
    """An event of a chat completion; `more` goes into it, and `delta` beside the content."""
    delta = more.pop("delta", {}) | ({} if content is None else {"content": content})
    choice = {"index": 0, "delta": delta, "finish_reason": end}
    return event({"object": "chat.completion.chunk", "choices": [choice], **more})


def event(value: object) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def said(*texts: str) -> "Reply":
    """A usual answer in pieces."""
    return Reply([chunk(text) for text in texts] + [chunk(end="stop"), DONE])


@dataclass
class Reply:
    """What one request gets."""

    pieces: list[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = EVENTS
    then: str = ""
    """`break`: the connection is lost; `hold`: nothing more comes."""


def refused(status: int, error: object, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply([json.dumps({"error": error}).encode()], status, named, "application/json")


@dataclass
class Foreign:
    """What it says, and what it heard."""

    models: object = field(
        default_factory=lambda: {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
    )
    """None: it has no list."""
    props: object = None
    """None: it has none."""
    replies: list[Reply] = field(default_factory=list)
    """One after the other; the last is for all that come later."""
    key: str = ""
    """Whoever lacks it gets a 401."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """The Authorization header of each request."""
    left: threading.Event = field(default_factory=threading.Event)
    """Somebody closed a stream that was held."""
    url: str = ""

    def _check(self, request: Request) -> Response | None:
        self.paths.append(request.url.path)
        self.keys.append(request.headers.get("authorization", ""))
        if self.key and self.keys[-1] != f"Bearer {self.key}":
            return JSONResponse(
                {"error": {"message": "Invalid API Key", "type": "authentication_error"}}, 401
            )
        return None

    async def list_models(self, request: Request) -> Response:
        return self._check(request) or _found(self.models)

    async def tell_props(self, request: Request) -> Response:
        return self._check(request) or _found(self.props)

    async def answer(self, request: Request) -> Response:
        refusal = self._check(request)
        if refusal is not None:
            return refusal
        self.bodies.append(await request.json())
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        headers = {"content-type": reply.content_type, **reply.headers}
        return StreamingResponse(self._write(reply), reply.status, headers)

    async def _write(self, reply: Reply) -> AsyncIterator[bytes]:
        try:
            for piece in reply.pieces:
                yield piece
                await asyncio.sleep(0.005)  # a packet each
            if reply.then == "break":
                raise ConnectionAbortedError
            if reply.then == "hold":
                await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.left.set()
            raise


class Busy:
    """In the place of a value: it is not there now, and a 503 says so."""


def _found(value: object) -> Response:
    if isinstance(value, Busy):
        return JSONResponse({"error": {"message": "not loaded"}}, 503, {"Retry-After": "1"})
    return JSONResponse(value) if value is not None else JSONResponse({"detail": "Not Found"}, 404)


@contextmanager
def serving(foreign: Foreign) -> Iterator[Foreign]:
    """Serves it from a thread while the block runs."""
    routes = [
        Route("/v1/models", foreign.list_models),
        Route("/props", foreign.tell_props),
        Route("/v1/chat/completions", foreign.answer, methods=["POST"]),
        Route("/v1/completions", foreign.answer, methods=["POST"]),
    ]
    port = free_port()
    config = uvicorn.Config(
        Starlette(routes=routes),
        "127.0.0.1",
        port,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    listening = threading.Event()
    thread = threading.Thread(target=asyncio.run, args=[_run(server, listening)], daemon=True)
    thread.start()
    assert listening.wait(60)
    foreign.url = f"http://127.0.0.1:{port}"
    try:
        yield foreign
    finally:
        server.should_exit = True
        thread.join(60)


async def _run(server: uvicorn.Server, listening: threading.Event) -> None:
    serving = asyncio.create_task(server.serve())
    while not (server.started or serving.done()):
        await asyncio.sleep(0.01)
    listening.set()
    await serving
