"""One MCP server: started or reached, asked for its tools, and called. The package `mcp` is imported when it is needed."""

import asyncio
import importlib
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from edgespec.chat.tools import Tool
from edgespec.errors import EdgespecError, UsageError
from edgespec.text import one_line
from tui.services import leash
from tui.services.mcp_config import ServerSetup

START_S: Final = 60.0
"""What a server may take to be there: some are fetched when they are started."""
CALL_S: Final = 120.0
_CLOSE_S: Final = 8.0
"""More than `mcp` takes to end a program that does not end by itself."""
_LONGEST_REASON: Final = 300
_CLOSED: Final = "Connection closed"
"""What `mcp` says where a program is gone."""
_HAS_ENDED: Final = "has ended"


async def load_mcp() -> Any:
    """The package.

    Raises:
        UsageError: it is not installed.
    """
    # What a server says wrong comes as an error; the package would write it on the screen, too.
    logging.getLogger("mcp").addHandler(logging.NullHandler())
    logging.getLogger("mcp").propagate = False
    try:
        return await asyncio.to_thread(importlib.import_module, "mcp")
    except ImportError:
        raise UsageError("tools need the package mcp", "pip install 'edgespec[mcp]'") from None


class McpServer:
    """A connection that lives in a task of its own.

    Args:
        name: As the user calls it.
        setup: How it is started or reached.
    """

    def __init__(self, name: str, setup: ServerSetup) -> None:
        self.name = name
        self._setup = setup
        self._client: Any = None
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.has_ended = False
        """It was there, and a call has found it gone."""
        self._errors: IO[bytes] | None = None
        """What a program says on stderr."""

    async def open(self) -> list[Tool]:
        """Starts or reaches it; what it offers.

        Raises:
            EdgespecError: it cannot be started or reached, or does not answer.
        """
        ready: asyncio.Future[list[Tool]] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve(ready))
        try:
            async with asyncio.timeout(START_S):
                return await asyncio.shield(ready)
        except TimeoutError:
            await self.close()
            raise self._error(f"did not answer in {START_S:g} s") from None

    async def call(self, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        """Runs a tool; its result as text, and whether that is an error of the tool's own.

        Raises:
            EdgespecError: the server is gone, refuses, or does not answer.
        """
        if self._client is None:
            raise self._error(_HAS_ENDED)
        try:
            async with asyncio.timeout(CALL_S):
                result = await self._client.call_tool(name, arguments)
        except TimeoutError:
            raise self._error(f"did not answer in {CALL_S:g} s") from None
        except Exception as error:
            reason = _reason(error)
            self.has_ended = reason == _HAS_ENDED
            raise self._error(reason) from error
        return _text_of(result), bool(result.is_error)

    async def close(self) -> None:
        """Ends it, and the program that was started for it."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_CLOSE_S)
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1.0)

    async def _serve(self, ready: "asyncio.Future[list[Tool]]") -> None:
        # Appended to by the program, so that reading it here moves nothing.
        with tempfile.TemporaryFile("a+b") as self._errors:
            try:
                mcp = await load_mcp()
                async with mcp.Client(self._transport(mcp)) as client:
                    tools = await _list_tools(client)
                    self._client = client
                    if not ready.done():
                        ready.set_result(tools)
                    await self._closing.wait()
            except Exception as error:
                if not ready.done():
                    is_ours = isinstance(error, EdgespecError)
                    ready.set_exception(error if is_ours else self._error(_reason(error)))
            finally:
                self._client = None

    def _transport(self, mcp: Any) -> Any:
        setup = self._setup
        if setup.url:
            return _http_transport(setup)
        command = ["-I", str(Path(leash.__file__).resolve()), setup.command, *setup.args]
        parameters = mcp.StdioServerParameters(command=sys.executable, args=command, env=dict(setup.env))
        return mcp.stdio_client(parameters, errlog=self._errors)

    def _error(self, what: str) -> EdgespecError:
        said = self._last_words()
        return EdgespecError(
            one_line(f"the MCP server {self.name} {what}" + (f": {said}" if said else ""))[:_LONGEST_REASON],
            "/tools on starts it again",
        )

    def _last_words(self) -> str:
        """The last line that its program wrote to stderr."""
        if self._errors is None or self._errors.closed:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _http_transport(setup: ServerSetup) -> Any:
    httpx = importlib.import_module("httpx2")
    client = importlib.import_module("mcp.client.streamable_http")
    return client.streamable_http_client(
        setup.url, http_client=httpx.AsyncClient(headers=dict(setup.headers), timeout=CALL_S)
    )


async def _list_tools(client: Any) -> list[Tool]:
    tools: list[Tool] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools += [Tool(one.name, one.description or "", one.input_schema) for one in page.tools]
        cursor = page.next_cursor
        if not cursor:
            return tools


def _text_of(result: Any) -> str:
    """The parts of a result as text; of a picture or a sound it is said that it is there."""
    parts = [_part_text(part) for part in result.content]
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    return "\n".join(parts)


def _part_text(part: Any) -> str:
    if part.type == "text":
        return str(part.text)
    text = getattr(getattr(part, "resource", None), "text", None)
    return str(text) if text is not None else f"[{part.type}, which cannot be read here]"


def _reason(error: BaseException) -> str:
    """Of what comes out of nested groups of tasks, the first thing that went wrong."""
    first = next(_leaves(error))
    text = str(first) or type(first).__name__
    return _HAS_ENDED if text == _CLOSED else f"cannot be used: {text}"


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
