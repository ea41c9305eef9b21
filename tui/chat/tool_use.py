"""What an answer calls: collected while it comes, and run when it is whole and whoever sits there has agreed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from edgespec.chat.tools import NO_TOOLS, CallDelta, Toolbox, ToolCall
from edgespec.errors import EdgespecError
from edgespec.text import one_line
from tui.chat.confirm_call import Permission
from tui.chat.transcript import Transcript
from tui.services.tools import ToolServers

_MOST_ROUNDS: Final = 25
"""Of calls to one question: a model may go round in circles."""
DECLINED: Final = "the user did not allow this call"
STOPPED: Final = "not run: the user stopped it"

Ask = Callable[[ToolCall, str], Awaitable[Permission]]


class ToolUse:
    """Of one pane: which calls are open, and which tools need no question any more.

    Args:
        servers: Where the tools are.
        ask: Whether a call may be run, with the name of its server.
        tell_error: Hears of servers that have ended.
    """

    def __init__(self, servers: ToolServers, ask: Ask, tell_error: Callable[[EdgespecError], None]) -> None:
        self._servers, self._ask, self._tell_error = servers, ask, tell_error
        self._calls: list[ToolCall] = []
        self._allowed: set[tuple[str, str]] = set()
        self._rounds_n = 0

    @property
    def toolbox(self) -> Toolbox:
        """What the next answer may call; nothing once it has gone on for too long."""
        if self._rounds_n >= _MOST_ROUNDS:
            return NO_TOOLS
        return Toolbox(self._servers.tools) if self._servers.is_on else NO_TOOLS

    def begin(self) -> None:
        """Another question."""
        self._rounds_n = 0

    def add(self, deltas: Iterable[CallDelta]) -> None:
        """More of the calls that are being written."""
        for delta in deltas:
            while len(self._calls) <= delta.index:
                self._calls.append(ToolCall("", "", ""))
            call = self._calls[delta.index]
            self._calls[delta.index] = ToolCall(
                call.id or delta.id, call.name or delta.name, call.arguments + delta.arguments
            )

    def take(self, *, whole: bool) -> tuple[ToolCall, ...]:
        """The calls of the answer that has ended; none of one that was cut short.

        Args:
            whole: The model has ended it.
        """
        calls, self._calls = self._calls, []
        if not whole or self.toolbox is NO_TOOLS:
            return ()
        return tuple(call for call in calls if call.name)

    async def run_all(
        self, calls: Sequence[ToolCall], transcript: Transcript, tell: Callable[[str], None]
    ) -> bool:
        """Runs the calls of an answer one by one, and adds what came of each, also of those that were not run any more.

        Returns:
            Whether the answer is to go on: nobody has stopped a call.
        """
        transcript.is_calling = True
        conversation_id, is_stopped = transcript.conversation.id, False
        try:
            for call in calls:
                turn, result = transcript.add_call(call), STOPPED
                try:
                    if not is_stopped:
                        tell(f"tool {one_line(call.name)}")
                        ran = await self._run(call, conversation_id)
                        is_stopped = ran is None
                        result = STOPPED if ran is None else ran
                except asyncio.CancelledError:
                    is_stopped = True
                turn.show(result)
                transcript.add_result(call, result)
        finally:
            transcript.is_calling = False
            self._rounds_n += 1
        return not is_stopped

    async def _run(self, call: ToolCall, conversation_id: str) -> str | None:
        """Runs a call once it is allowed; what the model is told of it, or None where the answer is to end."""
        key = (conversation_id, call.name)
        server = self._servers.server_of(call.name)
        if server and key not in self._allowed:
            answer = await self._ask(call, server)
            if answer == "stop":
                return None
            if answer == "no":
                return DECLINED
            if answer == "always":
                self._allowed.add(key)
        text, is_error = await self._servers.call(call)
        for lost in self._servers.take_lost():
            self._tell_error(lost)
        return f"error: {text}" if is_error else text


@dataclass(frozen=True, slots=True)
class Switched:
    """What came of starting or ending the servers."""

    text: str
    failed: tuple[EdgespecError, ...] = ()
    """What is wrong with servers that are not there now."""


async def switch_tools(servers: ToolServers, *, on: bool) -> Switched:
    """Starts all servers that are set up, or ends them.

    Raises:
        EdgespecError: none is set up, or the file that should name them is damaged.
    """
    if not on:
        await servers.close()
        return Switched("tools off")
    failed = await servers.start()
    counts = ", ".join(f"{one_line(name)} {count}" for name, count in servers.counts.items())
    if not counts:
        return Switched(
            failed[0].message if len(failed) == 1 else "no tools: no server has any", tuple(failed)
        )
    return Switched(f"tools on, each call is asked about: {counts}", tuple(failed))
