"""The turns of a conversation."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation."""

    role: Role
    content: str
    thought: str = ""
    """Of an answer: what the model thought before it. The template decides whether the model sees it again."""
