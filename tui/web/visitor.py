"""One visitor: an app process of their own, for as long as their page is open."""

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from edgespec.bound_process import own_group, python_path

DRIVER: Final = "tui.web.driver:BrowserDriver"
QUIT_S = 8.0
"""The app waits three seconds for its engine."""
_MOST_CELLS: Final = 1000
_NOT_HERE: Final = ("VISUAL", "EDITOR")
"""An editor would open on this machine, not in front of the visitor."""


class Visitor(AppService):
    """Runs the app without a shell between, and leaves nothing of it running."""

    def __init__(
        self, command: Sequence[str], socket: web.WebSocketResponse, downloads: DownloadManager
    ) -> None:
        super().__init__(
            " ".join(command),
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=socket.close,  # type: ignore[arg-type]
            download_manager=downloads,
        )
        self._arguments = tuple(command)

    async def run(self) -> None:
        """Passes on what the app draws; the page is told when it has ended, in whatever way."""
        await super().run()
        await self.remote_close()

    async def set_terminal_size(self, width: int, height: int) -> None:
        """Tells the app."""
        await super().set_terminal_size(cells(width), cells(height))

    async def stop(self) -> None:
        """Lets the app end; it is killed when it takes longer than eight seconds."""
        if self._process is None:
            return
        ending = asyncio.create_task(self._end(self._process))
        await asyncio.wait({ending}, timeout=QUIT_S)
        if self._process.returncode is None:
            self._process.kill()
        await ending

    async def _end(self, process: Process) -> None:
        await super().stop()
        # An app whose drawing nobody reads any more would wait, and could not end.
        await process.communicate()

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        served = super()._build_environment(width, height)
        kept = {name: value for name, value in served.items() if name not in _NOT_HERE}
        return {**kept, "PYTHONPATH": python_path(), "TEXTUAL_DRIVER": DRIVER}

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self._build_environment(width, height),
            # Ctrl-C in the server's terminal is the server's to handle.
            **own_group(),
        )
        self._process, self._stdin = process, process.stdin
        return process


def cells(count: int) -> int:
    """A width or height that a screen can have."""
    return max(1, min(int(count), _MOST_CELLS))
