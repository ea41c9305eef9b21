"""Who gets into the app that is served to browsers, how many at a time, and what they may write."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.cli.processes import free_port
from tests.secrets_compared import WatchedText
from tests.tui.served import LIMIT_S, Served, connect, read_until
from tui.web.server import MOST_VISITORS, AppServer

POLITE = """
import os
os.write(1, b"__GANGLION__\\n")
while b"quit" not in os.read(0, 1024):
    pass
"""
"""An app that only waits for its end."""


async def status_of(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        return answer.status


async def test_nobody_gets_in_without_the_token_and_the_page_has_all_that_it_needs(
    serve: Callable[..., Served],
) -> None:
    served = serve()
    token = urlsplit(served.url).path.strip("/")
    needed = ["", "page.js", "static/js/textual.js", "static/css/xterm.css"]
    async with aiohttp.ClientSession() as session:
        for path in (*needed, "ws", "download/0"):
            for wrong in ("", token[:-1] + "/", token[:-1] + "%C3%A9/", "%FF/", "x/" + token + "/"):
                assert await status_of(session, f"{served.origin}/{wrong}{path}") == 403, (wrong, path)
        for query in (f"?token={token}", f"?{token}"):
            assert await status_of(session, served.origin + "/" + query) == 403
        assert [await status_of(session, served.url + path) for path in needed] == [200] * len(needed)
        async with session.get(served.url) as page:
            assert page.headers["Referrer-Policy"] == "no-referrer"
            assert not page.cookies
            assert 'href="/' not in await page.text()
    assert served.descendants() == []


def test_every_server_has_a_token_of_its_own() -> None:
    tokens = {AppServer(["app"], "127.0.0.1", 8000)._token for _ in range(3)}
    assert len(tokens) == 3


@asynccontextmanager
async def polite_app(*, is_watched: bool = False) -> AsyncIterator[str]:
    """The address of a server whose app costs nothing; its token may notice how it is compared."""
    told: asyncio.Queue[str] = asyncio.Queue()
    server = AppServer([sys.executable, "-S", "-c", POLITE], "127.0.0.1", free_port())
    if is_watched:
        server._token = WatchedText(server._token)
    running = asyncio.create_task(server.run(told.put_nowait))
    try:
        async with asyncio.timeout(LIMIT_S):
            yield await told.get()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_the_token_is_compared_in_a_time_that_tells_nothing_of_it() -> None:
    async with polite_app(is_watched=True) as url, aiohttp.ClientSession() as session:
        assert await status_of(session, url) == 200
        for wrong in (url[:-2] + "/", url[:-1] + "x/", "http://" + urlsplit(url).netloc + "/"):
            assert await status_of(session, wrong) == 403


async def test_one_visitor_too_many_is_told_so_and_gets_in_when_another_has_left() -> None:
    async with polite_app() as url, aiohttp.ClientSession() as session, AsyncExitStack() as open_pages:
        first, *_ = [
            await open_pages.enter_async_context(session.ws_connect(f"{url}ws")) for _ in range(MOST_VISITORS)
        ]
        for path in ("", "ws"):
            async with session.get(url + path) as answer:
                assert answer.status == 503
                assert await answer.text() == (
                    f"{MOST_VISITORS} pages show the app, and more would fill the memory: close one of them\n"
                )
        await first.close()
        async with asyncio.timeout(LIMIT_S):
            while await status_of(session, url) == 503:
                await asyncio.sleep(0.05)
        await open_pages.enter_async_context(session.ws_connect(f"{url}ws"))


async def test_what_a_visitor_exports_comes_as_a_download_and_writes_nothing_here(
    tiny_model: Path, serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve(str(tiny_model), "--draft", "none", "-n", "3")
    async with aiohttp.ClientSession() as session:
        page = await connect(session, served)
        await read_until(page, "tiny, no draft")
        await page.send_json(["stdin", f"/export {tmp_path}/below/../mine.md\r"])
        key = await next_download(page)
        assert await status_of(session, f"{served.origin}/download/{key}") == 403
        async with session.get(f"{served.url}download/{key}") as answer:
            assert answer.headers["Content-Disposition"] == "attachment; filename=mine.md"
            assert (await answer.text()).startswith("# ")
    assert [*tmp_path.rglob("mine*"), *tmp_path.rglob("below")] == []


async def next_download(page: aiohttp.ClientWebSocketResponse) -> str:
    """The key of the file that the page is told to fetch."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            message = await page.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                kind, value = json.loads(message.data)
                if kind == "deliver_file_start":
                    return str(value)
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--quiet"], "the app is at http://127.0.0.1:"), (["--quiet", "--host", "0.0.0.0"], "the app is at ")],
)
def test_the_address_is_told_however_quiet(
    options: list[str], told: str, serve: Callable[..., Served]
) -> None:
    assert serve(*options).line.startswith(f"edgespec: {told}")
