"""The turns of a conversation."""

from dataclasses import dataclass
from typing import Literal

from edgespec.chat.tools import ToolCall

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation."""

    role: Role
    content: str
    thought: str = ""
    """Of an answer: what the model thought before it. The template decides whether the model sees it again."""
    calls: tuple[ToolCall, ...] = ()
    """Of an answer: the tools that it calls."""
    call_id: str = ""
    """Of a tool's result: the call that it belongs to."""
    tool_name: str = ""
    """Of a tool's result, where it is known."""
