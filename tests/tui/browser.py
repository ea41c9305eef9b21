"""A headless Chromium, driven over its debugging protocol, that shows the app in a page."""

import asyncio
import base64
import io
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT_S = 90.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,700",
    "--remote-debugging-port=0",
)
_KEEP_TERMINAL = """
    Object.defineProperty(Object.prototype, "_core", {
        configurable: true,
        set(value) {
            Object.defineProperty(this, "_core", {value, writable: true, configurable: true, enumerable: true});
            window.shownTerminals = [...(window.shownTerminals ?? []), this];
        },
    });
"""
"""xterm.js is the page's own; this keeps its terminal where the test can read it."""
_READ_TERMINAL = """
    (() => {
        const one = (window.shownTerminals ?? []).find(each => each.buffer?.active && each.rows);
        if (!one) return "";
        const lines = [];
        for (let row = 0; row < one.rows; row++)
            lines.push(one.buffer.active.getLine(one.buffer.active.viewportY + row)?.translateToString(true) ?? "");
        return lines.join("\\n");
    })()
"""


_MEASURE = """
    (() => {
        const place = document.querySelector(".xterm-screen").getBoundingClientRect();
        const one = window.shownTerminals.find(each => each.buffer?.active && each.rows);
        return {
            page_width: window.innerWidth,
            page_height: window.innerHeight,
            scroll_width: document.documentElement.scrollWidth,
            left: place.left,
            right: place.right,
            bottom: place.bottom,
            columns: one.cols,
            rows: one.rows,
            row_height: place.height / one.rows,
        };
    })()
"""


@dataclass(frozen=True)
class Measures:
    """In the page's own pixels, of which a phone shows as many as its screen is wide."""

    page_width: float
    page_height: float
    scroll_width: float
    left: float
    right: float
    bottom: float
    columns: int
    rows: int
    row_height: float


class Page:
    """A tab that shows the app."""

    def __init__(self, channel: aiohttp.ClientWebSocketResponse) -> None:
        self._channel, self._number = channel, 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listening = asyncio.create_task(self._listen())
        self.requested: list[str] = []
        """Addresses of all that the page asked for."""
        self.complaints: list[str] = []
        """What the browser refused, or what failed in the page."""

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Asks the browser for something, and gives its answer."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._channel.send_json({"id": self._number, "method": method, "params": parameters})
        async with asyncio.timeout(LIMIT_S):
            return await answer

    async def open(self, url: str, phone: tuple[int, int] | None = None) -> None:
        """Shows a page, as a phone of that width and height does where one is given."""
        for domain in ("Network", "Page", "Runtime", "Log"):
            await self.do(f"{domain}.enable")
        if phone is not None:
            width, height = phone
            same = {"width": width, "height": height, "screenWidth": width, "screenHeight": height}
            await self.do("Emulation.setDeviceMetricsOverride", deviceScaleFactor=3, mobile=True, **same)
            await self.do("Emulation.setTouchEmulationEnabled", enabled=True)
        await self.do("Page.addScriptToEvaluateOnNewDocument", source=_KEEP_TERMINAL)
        await self.do("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        """The value of a script in the page."""
        answer = await self.do("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def screen(self) -> str:
        """What stands in the page's terminal."""
        return str(await self.evaluate(_READ_TERMINAL) or "")

    async def until(self, is_there: Callable[[str], bool]) -> str:
        """The screen, once it is as wanted."""
        shown = ""
        try:
            async with asyncio.timeout(LIMIT_S):
                while not is_there(shown := await self.screen()):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"it did not come:\n{shown}\n{self.complaints}") from None
        return shown

    async def until_shown(self, *texts: str) -> str:
        """The screen, once all of these are on it."""
        return await self.until(lambda shown: all(text in shown for text in texts))

    async def until_ended(self) -> None:
        """Until the page says that its app has ended."""
        async with asyncio.timeout(LIMIT_S):
            while not await self.evaluate(
                "getComputedStyle(document.querySelector('.ended')).display == 'flex'"
            ):
                await asyncio.sleep(0.1)

    async def type(self, text: str) -> None:
        """Types on the keyboard."""
        for character in text:
            await self.do("Input.dispatchKeyEvent", type="keyDown", text=character, key=character)
            await self.do("Input.dispatchKeyEvent", type="keyUp", key=character)

    async def press(self, key: str, code: int, text: str = "", modifiers: int = 0) -> None:
        """Presses a key that is not a character."""
        same = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        await self.do("Input.dispatchKeyEvent", type="keyDown", **same, **({"text": text} if text else {}))
        await self.do("Input.dispatchKeyEvent", type="keyUp", **same)

    async def colours(self) -> int:
        """How many colours a picture of the page has."""
        from PIL import Image

        picture = await self.do("Page.captureScreenshot", format="png")
        with Image.open(io.BytesIO(base64.b64decode(picture["data"]))) as image:
            return len(image.convert("RGB").getcolors(1 << 24) or ())

    async def measures(self) -> Measures:
        """How the terminal lies on the page."""
        return Measures(**await self.evaluate(_MEASURE))

    async def close(self) -> None:
        """Ends the tab's side of the conversation."""
        self._listening.cancel()
        await self._channel.close()

    async def _listen(self) -> None:
        async for message in self._channel:
            event = message.json()
            if "id" in event:
                self._answers.pop(event["id"]).set_result(event.get("result", {"error": event.get("error")}))
            match event.get("method"):
                case "Network.requestWillBeSent":
                    self.requested.append(event["params"]["request"]["url"])
                case "Network.webSocketCreated":
                    self.requested.append(event["params"]["url"])
                case "Log.entryAdded":
                    self.complaints.append("{source}: {text}".format(**event["params"]["entry"]))
                case "Runtime.exceptionThrown":
                    self.complaints.append(str(event["params"]["exceptionDetails"]))


@asynccontextmanager
async def open_page(url: str, profile: Path, phone: tuple[int, int] | None = None) -> AsyncIterator[Page]:
    """A browser of its own with that page, on a phone's screen where its size is given; both are gone afterwards."""
    browser = await asyncio.create_subprocess_exec(
        str(CHROMIUM),
        *_FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            address = await _find_tab(session, profile / "DevToolsActivePort")
            page = Page(await session.ws_connect(address, max_msg_size=0))
            try:
                await page.open(url, phone)
                yield page
            finally:
                await page.close()
    finally:
        browser.terminate()
        await browser.wait()


async def _find_tab(session: aiohttp.ClientSession, port_file: Path) -> str:
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                port = port_file.read_text().split()[0]
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    tabs = [one for one in await answer.json() if one["type"] == "page"]
                    if tabs:
                        return str(tabs[0]["webSocketDebuggerUrl"])
            except (OSError, IndexError, aiohttp.ClientError):
                pass
            await asyncio.sleep(0.1)
