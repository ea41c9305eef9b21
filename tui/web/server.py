"""Serves the app's page, and the app to whoever opens it."""

import asyncio
import contextlib
import io
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

from edgespec.errors import EdgespecError
from edgespec.page_origin import address_of, is_own_name, is_same_origin
from edgespec.text import plain_text
from tui.web.page_messages import FocusChanged, Pinged, Resized, Typed, read_message
from tui.web.visitor import Visitor, cells

MOST_VISITORS: Final = 8
"""At a time: each has an app, an engine and models of their own. Chosen, not measured."""
_SHUTDOWN_S: Final = 15.0
_TOKEN_BYTES: Final = 32
_PAGE: Final = Path(__file__).with_name("page.html")
_SCRIPT: Final = Path(__file__).with_name("page.js")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self' {websocket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FULL: Final = f"{MOST_VISITORS} pages show the app, and more would fill the memory: close one of them\n"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AppServer(Server):
    """One app process for each open page, up to `MOST_VISITORS`.

    Everything lies under an address with a random token: whoever does not know it, as other accounts of this machine, is refused.
    It is no cookie, which browsers would send to every other server of this machine too. Nothing on the page comes from another
    machine, and no page of another site may drive the app.

    Args:
        command: Starts the app.
        host: Address to listen on.
        port: Port to listen on.
    """

    def __init__(self, command: Sequence[str], host: str, port: int) -> None:
        super().__init__(" ".join(command), host=host, port=port, title="edgespec")
        self._arguments = tuple(command)
        self._sockets: set[web.WebSocketResponse] = set()
        self._n_visitors = 0
        self._token = secrets.token_urlsafe(_TOKEN_BYTES)

    async def run(self, tell: Callable[[str], None]) -> None:
        """Serves until the process is asked to end; then every app ends, too.

        Args:
            tell: Told the address of the page, once it is there.

        Raises:
            EdgespecError: the address cannot be listened on.
        """
        runner = web.AppRunner(await self._make_app(), access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        # textual-serve prints what a failed app said.
        with contextlib.redirect_stdout(_HarmlessStderr()):
            try:
                await self._listen(runner)
                tell(f"{address_of(self.host, self.port)}/{self._token}/")
                await _asked_to_end()
            finally:
                await runner.cleanup()

    async def on_startup(self, app: web.Application) -> None:
        """Prints no banner."""

    async def on_shutdown(self, app: web.Application) -> None:
        """Closes the pages' sockets, which ends their apps."""
        await asyncio.gather(*(one.close(code=WSCloseCode.GOING_AWAY) for one in list(self._sockets)))

    async def handle_index(self, request: web.Request) -> web.Response:
        """The page."""
        self._check_room()
        websocket = f"ws://{request.host}{request.app.router['websocket'].url_for()}"
        font_size = max(8, min(to_int(request.query.get("fontsize", ""), 16), 40))
        text = Template(_PAGE.read_text(encoding="utf-8")).substitute(
            websocket_url=escape(websocket), font_size=font_size
        )
        headers = {
            "Content-Security-Policy": _POLICY.format(websocket=websocket),
            # What a link leads to learns nothing of the address, and no shared cache keeps it.
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """The terminal of one visitor, for as long as the page or the app is there."""
        with self._place():
            one = web.WebSocketResponse(heartbeat=15)
            await one.prepare(request)
            self._sockets.add(one)
            visitor = Visitor(self._arguments, one, self.download_manager)
            try:
                usual = {"width": 80, "height": 24}
                size = [to_int(request.query.get(name, ""), value) for name, value in usual.items()]
                await visitor.start(*map(cells, size))
                await self._process_messages(one, visitor)
            finally:
                self._sockets.discard(one)
                await visitor.stop()
        return one

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """That of a visitor, until nothing is left of their app."""
        self._check_room()
        self._n_visitors += 1
        try:
            yield
        finally:
            self._n_visitors -= 1

    def _check_room(self) -> None:
        if self._n_visitors >= MOST_VISITORS:
            raise web.HTTPServiceUnavailable(text=_FULL)

    async def _handle_script(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(_SCRIPT)

    async def _make_app(self) -> web.Application:
        own = await super()._make_app()
        own.router.add_get("/page.js", self._handle_script)
        app = web.Application(middlewares=[self._refuse_strangers])
        app.add_subapp(f"/{self._token}", own)
        return app

    @web.middleware
    async def _refuse_strangers(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """A browser lets any site connect to this machine: what counts is where it says that the page comes from, and the token."""
        origin = request.headers.get("Origin")
        if origin is not None and not is_same_origin(origin, request.host):
            raise web.HTTPForbidden(text="only the app's own page may connect\n")
        if not is_own_name(request.host, self.host):
            raise web.HTTPForbidden(
                text="open the app by this machine's address, or by the name given to --host\n"
            )
        said = request.path.lstrip("/").partition("/")[0].encode("utf-8", "replace")
        if not secrets.compare_digest(said, self._token.encode()):
            raise web.HTTPForbidden(text="open the address that `edgespec chat --web` printed\n")
        return await handler(request)

    async def _process_messages(self, websocket: web.WebSocketResponse, app_service: AppService) -> None:
        """Passes on what the page says; what is no message of a page is left out, where textual-serve would fail."""
        async for one in websocket:
            match read_message(one.data) if one.type == WSMsgType.TEXT else None:
                case Typed(data):
                    await app_service.send_bytes(data)
                case Resized(width, height):
                    await app_service.set_terminal_size(width, height)
                case Pinged(data):
                    await websocket.send_json(["pong", data])
                case FocusChanged(has_focus):
                    await (app_service.focus() if has_focus else app_service.blur())

    async def _listen(self, runner: web.AppRunner) -> None:
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError as error:
            is_system = (error.errno or 0) > 0 and not isinstance(error, socket.gaierror)
            reason = os.strerror(error.errno or 0) if is_system else error.strerror
            raise EdgespecError(
                f"cannot listen on {self.host}, port {self.port}: {(reason or str(error)).lower()}",
                "name another address with --host or --port",
            ) from error


class _HarmlessStderr(io.TextIOBase):
    def write(self, text: str) -> int:
        sys.stderr.write(plain_text(text))
        return len(text)


async def _asked_to_end() -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number: Any = getattr(signal, name, None)
        # Where there are no such handlers, asyncio itself turns Ctrl-C into a cancellation.
        with contextlib.suppress(NotImplementedError):
            if number is not None:
                loop.add_signal_handler(number, ended.set)
    await ended.wait()
