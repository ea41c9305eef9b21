"""Connections that stall: a head that does not come to its end, an answer that is not read."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from edgespec.serve.connection import BoundConnection
from edgespec.serve.server import listen

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class QuickConnection(BoundConnection):
    """One that waits less long than the server's."""

    head_s = 0.3
    unread_s = 0.3


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """The port of an application."""
    with listen("127.0.0.1", 0) as listening:
        config = uvicorn.Config(
            app, http=QuickConnection, lifespan="off", log_config=None, ws="none", timeout_keep_alive=60
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server._serve([listening]))
        yield int(listening.getsockname()[1])
        server.should_exit = True
        await running


async def short(scope: Scope, receive: Receive, send: Send) -> None:
    """An answer in one piece."""
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def test_a_head_that_does_not_come_to_its_end_is_not_waited_for() -> None:
    async with serving(short) as port:
        for sent in (b"", HEAD[:20]):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # The second head of a connection counts as much as the first.
        writer.write(HEAD + HEAD[:20])
        with suppress(ConnectionResetError):
            assert (await reader.read()).endswith(b"ok")
        writer.close()


async def test_an_answer_that_takes_its_time_is_waited_for() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(3 * QuickConnection.head_s)
        await short(scope, receive, send)

    async with serving(slow) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (await reader.read()).endswith(b"ok")
        writer.close()


async def test_a_caller_that_does_not_read_its_answer_is_left() -> None:
    left = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

        async def write() -> None:
            while True:
                await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
                await asyncio.sleep(0)

        writing = asyncio.create_task(write())
        while (await receive())["type"] != "http.disconnect":
            pass
        writing.cancel()
        left.set()

    async with serving(endless) as port:
        loop = asyncio.get_running_loop()
        with socket.socket() as one:
            one.setblocking(False)
            await loop.sock_connect(one, ("127.0.0.1", port))
            await loop.sock_sendall(one, HEAD)
            async with asyncio.timeout(60):
                await left.wait()
