"""A page whose socket says anything: the server passes on what is a message, and goes on with this page and the others."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import aiohttp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.processes import free_port
from tests.tui.served import LIMIT_S, Served, connect, read_until
from tests.tui.test_page_messages import ENVELOPES
from tui.web.server import AppServer

DEAF = """
import os
os.write(1, b"__GANGLION__\\n")
while b'{"type": "quit"}' not in os.read(0, 1 << 16):
    pass
"""
"""An app that hears everything and says nothing."""
FRAMES = st.one_of(ENVELOPES.map(json.dumps), st.text(max_size=60), st.binary(max_size=60))
PIECES = (
    *(
        "\x1b",
        "\x1b[",
        "\x1bO",
        "\x1b]0;",
        "\x1b[<0;1;1M",
        "\x1b[<35;999999999;-1m",
        "\x1b[M   ",
        "\x1b[200~",
        "\x1b[201~",
    ),
    *(
        "\x1b[1;5A",
        "\x1b[Z",
        "\x1b[?2048;1$y",
        "\x1b[97;5u",
        "\x1b[I",
        "\x1b[O",
        "\x1b[8;9999;9999t",
        "\x1b[6n",
        "\x1bP",
        "\x9b",
    ),
    *(
        "\t",
        "\r",
        "\n",
        "\x7f",
        "\x00",
        "a",
        "9",
        ";",
        "m",
        "/help",
        "/export x",
        "\ud800",
        "é",
        "\U0001f600",
        "\u202e",
        "x" * 3000,
    ),
)
"""Of what a terminal sends: keys, the mouse, pastes, answers to questions, and halves of all that."""


@asynccontextmanager
async def page_of_deaf_app() -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    told: asyncio.Queue[str] = asyncio.Queue()
    server = AppServer([sys.executable, "-S", "-c", DEAF], "127.0.0.1", free_port())
    running = asyncio.create_task(server.run(told.put_nowait))
    try:
        async with asyncio.timeout(LIMIT_S):
            url = await told.get()
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}ws") as page:
            yield page
    finally:
        running.cancel()
        await asyncio.wait([running])


async def send(page: aiohttp.ClientWebSocketResponse, frame: str | bytes) -> None:
    if isinstance(frame, bytes):
        await page.send_bytes(frame)
    else:
        await page.send_str(frame.encode("utf-8", "replace").decode())


async def pong(page: aiohttp.ClientWebSocketResponse, number: int) -> None:
    """Until the server has heard all that was said before."""
    await page.send_json(["ping", number])
    async with asyncio.timeout(LIMIT_S):
        while True:
            message = await page.receive()
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
            if message.type is aiohttp.WSMsgType.TEXT and json.loads(message.data) == ["pong", number]:
                return


def test_any_frames_are_passed_on_or_left_out() -> None:
    @settings(
        max_examples=50,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(FRAMES, max_size=8))
    def check(frames: list[str | bytes]) -> None:
        async def say() -> None:
            for frame in frames:
                await send(page, frame)
            await pong(page, 2**40)

        runner.run(say())

    with asyncio.Runner() as runner:
        context = page_of_deaf_app()
        page = runner.run(context.__aenter__())
        check()
        runner.run(context.__aexit__(None, None, None))


async def test_whatever_is_typed_ends_no_app_and_the_next_page_is_served(
    tiny_model: Path, serve: Callable[..., Served]
) -> None:
    served = serve(str(tiny_model), "--draft", "none", "-n", "3")
    async with aiohttp.ClientSession() as session:
        odd = await connect(session, served)
        await read_until(odd, "tiny, no draft")
        chance = Random(1)
        for number in range(40):
            await odd.send_json(["stdin", "".join(chance.choices(PIECES, k=chance.randint(1, 6)))])
            if number % 10 == 0:
                await odd.send_json(["resize", {"width": chance.choice((0, 1, 100)), "height": 30}])
            await pong(odd, number)
        app = next(one for one in served.descendants() if "chat" in one.cmdline())
        assert app.is_running()
        other = await connect(session, served)
        await read_until(other, "tiny, no draft")
        await other.send_json(["stdin", "hello"])
        await read_until(other, "hello")
