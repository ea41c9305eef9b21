"""The tools that a model may call in the chat: those of all MCP servers that are set up, once they are switched on."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from edgespec.chat.tools import Tool, ToolCall
from edgespec.errors import EdgespecError
from edgespec.paths import mcp_servers_file
from tui.services.mcp_config import load_servers
from tui.services.mcp_server import McpServer, load_mcp

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool as the model knows it."""

    tool: Tool
    server: McpServer
    own_name: str
    """As its server calls it."""


class ToolServers:
    """Off until `start`. Each server lives by itself: one that fails leaves the tools of the others."""

    def __init__(self) -> None:
        self._servers: list[McpServer] = []
        self._offered: dict[str, OfferedTool] = {}
        self._lost: list[EdgespecError] = []

    @property
    def is_on(self) -> bool:
        """Whether there is a tool to be called."""
        return bool(self._offered)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What a model may call."""
        return tuple(offered.tool for offered in self._offered.values())

    @property
    def counts(self) -> dict[str, int]:
        """Tools by servers."""
        names = [offered.server.name for offered in self._offered.values()]
        return {name: names.count(name) for name in names}

    def server_of(self, name: str) -> str:
        """Whose a tool is; empty for one that is not offered."""
        return self._offered[name].server.name if name in self._offered else ""

    async def start(self) -> list[EdgespecError]:
        """Starts or reaches all servers; what is wrong with each that fails.

        Raises:
            ConfigError: the file of servers is damaged.
            UsageError: there is none, or the package `mcp` is not installed.
        """
        await self.close()
        setups = load_servers(mcp_servers_file())
        await load_mcp()
        self._servers = [McpServer(name, setup) for name, setup in setups.items()]
        found = await asyncio.gather(*(server.open() for server in self._servers), return_exceptions=True)
        failed: list[EdgespecError] = []
        for server, tools in zip(self._servers, found, strict=True):
            if isinstance(tools, EdgespecError):
                failed.append(tools)
            elif isinstance(tools, BaseException):
                raise tools
            else:
                self._offer(server, tools)
        return failed

    async def call(self, call: ToolCall) -> tuple[str, bool]:
        """Runs a call; its result as text, and whether that is an error. What goes wrong is a result, too: the model reads it."""
        offered = self._offered.get(call.name)
        if offered is None:
            return f"there is no tool {call.name}", True
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            return "the arguments are no JSON object", True
        try:
            return await offered.server.call(offered.own_name, arguments)
        except EdgespecError as error:
            if offered.server.has_ended:
                self._lose(offered.server, error)
            return error.message, True

    def _lose(self, server: McpServer, error: EdgespecError) -> None:
        """Its tools are no longer offered."""
        self._offered = {name: one for name, one in self._offered.items() if one.server is not server}
        self._lost.append(error)

    def take_lost(self) -> list[EdgespecError]:
        """What is said of servers that have ended since the last time."""
        lost, self._lost = self._lost, []
        return lost

    async def close(self) -> None:
        """Ends all servers."""
        servers, self._servers, self._offered = self._servers, [], {}
        await asyncio.gather(*(server.close() for server in servers))

    def _offer(self, server: McpServer, tools: Sequence[Tool]) -> None:
        for tool in tools:
            name = _NOT_IN_NAMES.sub("_", tool.name)[:_LONGEST_NAME]
            if name in self._offered:
                name = f"{_NOT_IN_NAMES.sub('_', server.name)}_{name}"[:_LONGEST_NAME]
            self._offered[name] = OfferedTool(replace(tool, name=name), server, tool.name)


def shown_arguments(call: ToolCall) -> str:
    """The arguments of a call, for people."""
    try:
        read: Any = json.loads(call.arguments or "{}")
    except ValueError:
        return call.arguments
    return json.dumps(read, ensure_ascii=False, indent=2)
