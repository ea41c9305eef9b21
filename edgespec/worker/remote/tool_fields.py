"""Tools in OpenAI's protocol: what is offered and was called goes out, and the pieces of new calls come in."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from edgespec.chat.calls.form import HERMES
from edgespec.chat.calls.reader import CallParts, CallReader, new_call_id
from edgespec.chat.calls.writing import tool_values
from edgespec.chat.messages import ChatMessage
from edgespec.chat.tools import CallDelta, Tool, Toolbox

_MOST_CALLS: Final = 128
"""Of one answer."""


def toolbox_fields(toolbox: Toolbox) -> dict[str, Any]:
    """What the model may call; nothing where nothing is offered."""
    return {"tools": tool_values(toolbox.offered)} if toolbox.offered else {}


def call_fields(message: ChatMessage) -> dict[str, Any]:
    """Of a turn: its calls, or the call that it is the result of."""
    fields: dict[str, Any] = {}
    if message.calls:
        fields["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    if message.call_id:
        fields["tool_call_id"] = message.call_id
    return fields


class CallPieces:
    """The calls of one answer, as they come: those that the server names, or those that it has left in the text.

    Args:
        tools: That may be called.
        unmarked: Whether JSON that the text begins with may be a call.
    """

    def __init__(self, tools: tuple[Tool, ...] = (), *, unmarked: bool = True) -> None:
        self._left = CallReader(HERMES, tools, unmarked=unmarked) if tools else None
        self._named: set[int] = set()
        self._deltas: list[CallDelta] = []

    def add(self, delta: Mapping[str, Any]) -> None:
        """More of a message. What is no call is passed over."""
        listed = delta.get("tool_calls")
        for place, item in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(item, Mapping):
                self._deltas += self._read(item, place)

    def read_text(self, text: str) -> str:
        """More of the answer's text; what of it is sure to be no call."""
        return self._without_calls(self._left.add(text)) if self._left else text

    def finish(self) -> str:
        """The text is whole: what of it was held back."""
        return self._without_calls(self._left.finish()) if self._left else ""

    def _without_calls(self, read: CallParts) -> str:
        if not self._named:
            self._deltas += read.calls
        return read.text

    def take(self) -> tuple[CallDelta, ...]:
        """What has come since the last time."""
        deltas, self._deltas = self._deltas, []
        return tuple(deltas)

    def _read(self, item: Mapping[str, Any], place: int) -> Iterator[CallDelta]:
        index = item.get("index", place)
        function = item.get("function")
        if not isinstance(index, int) or not 0 <= index < _MOST_CALLS or not isinstance(function, Mapping):
            return
        name, arguments, call_id = function.get("name"), function.get("arguments"), item.get("id")
        is_first = index not in self._named
        if is_first and not (isinstance(name, str) and name):
            return
        self._named.add(index)
        yield CallDelta(
            index,
            (call_id if isinstance(call_id, str) and call_id else new_call_id()) if is_first else "",
            str(name) if is_first else "",
            arguments if isinstance(arguments, str) else "",
        )
