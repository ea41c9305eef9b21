"""`edgespec chat --web`: for real in a headless Chromium, and what it refuses."""

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from edgespec.cli.chat_web import app_command
from edgespec.paths import chats_dir

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT_S = 90.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,700",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(home_with_smollm2: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgespec", "--offline", "chat", "--web", "--port", str(port), "-n", "40"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield port, process
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        process.wait(30)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive, "the app or its engine outlived the server"


class Page:
    """A tab, over Chrome's debugging protocol; `received` is all text that its websockets were sent."""

    def __init__(self, channel: aiohttp.ClientWebSocketResponse) -> None:
        self._channel, self._number = channel, 0
        self.received = ""
        self.requested: list[str] = []

    async def do(self, method: str, **parameters: Any) -> None:
        self._number += 1
        await self._channel.send_json({"id": self._number, "method": method, "params": parameters})

    async def until(self, text: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            while text not in self.received:
                event = json.loads((await self._channel.receive()).data)
                if event.get("method") == "Network.requestWillBeSent":
                    self.requested.append(event["params"]["request"]["url"])
                if event.get("method") == "Network.webSocketFrameReceived":
                    frame = event["params"]["response"]
                    data = base64.b64decode(frame["payloadData"]) if frame["opcode"] == 2 else b""
                    self.received += re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", data.decode("utf-8", "replace"))

    async def type(self, text: str) -> None:
        for character in text:
            await self.do("Input.dispatchKeyEvent", type="keyDown", text=character, key=character)
            await self.do("Input.dispatchKeyEvent", type="keyUp", key=character)

    async def click(self, x: int, y: int) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            await self.do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def enter(self) -> None:
        code = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        await self.do("Input.dispatchKeyEvent", type="keyDown", text="\r", **code)
        await self.do("Input.dispatchKeyEvent", type="keyUp", **code)


@asynccontextmanager
async def open_page(url: str, profile: Path) -> AsyncIterator[Page]:
    debugging = free_port()
    browser = await asyncio.create_subprocess_exec(
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={profile}",
        f"--remote-debugging-port={debugging}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            address = await _debugger(session, debugging)
            async with session.ws_connect(address, max_msg_size=0) as channel:
                page = Page(channel)
                await page.do("Network.enable")
                await page.do("Page.enable")
                await page.do("Page.navigate", url=url)
                await page.do("Page.bringToFront")
                yield page
    finally:
        browser.terminate()
        await browser.wait()


async def _debugger(session: aiohttp.ClientSession, port: int) -> str:
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    pages = [one for one in await answer.json() if one["type"] == "page"]
                    if pages:
                        return str(pages[0]["webSocketDebuggerUrl"])
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


@pytest.mark.model
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
async def test_a_browser_sends_a_prompt_and_reads_the_answer(
    served: tuple[int, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    port, process = served
    assert process.stderr is not None
    line = (await asyncio.to_thread(process.stderr.readline)).decode()
    assert f"http://127.0.0.1:{port}" in line
    async with open_page(f"http://127.0.0.1:{port}/", tmp_path / "profile") as page:
        await page.until("4096 tokens")
        await page.click(300, 300)
        await page.type("Name three colours.")
        await page.enter()
        await page.until("TTFT")
        chats = [json.loads(path.read_text()) for path in chats_dir().glob("*.json")]
        question, answer = chats[0]["messages"]
        assert question["content"] == "Name three colours."
        # The words of the answer came to the browser, wherever the screen broke its lines.
        words = re.findall(r"[A-Za-z]{4,}", answer["content"])
        assert words
        assert all(word in page.received for word in words[:8])
        assert all(url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:")) for url in page.requested)


@pytest.mark.model
async def test_another_site_may_not_drive_the_app(served: tuple[int, subprocess.Popen[bytes]]) -> None:
    port, process = served
    assert process.stderr is not None
    await asyncio.to_thread(process.stderr.readline)
    async with aiohttp.ClientSession() as session:
        for headers in ({"Origin": "http://evil.example"}, {}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"http://127.0.0.1:{port}/ws", headers=headers)
            assert refused.value.status == 403


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgespec", "chat", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("--web", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "ame another one with --host and --port" in done.stderr


def test_host_and_port_go_with_web() -> None:
    done = run("--port", "8000")
    assert done.returncode == 2
    assert "--host and --port go with --web" in done.stderr


def test_everything_else_reaches_the_app() -> None:
    command = app_command(
        ["--offline", "chat", "my model", "--web", "--port=1", "--host", "0.0.0.0", "-n", "5"]
    )
    assert command.endswith("-m edgespec --offline chat 'my model' -n 5")
