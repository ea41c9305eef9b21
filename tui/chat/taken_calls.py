"""The calls of an answer that has ended."""

from dataclasses import dataclass
from typing import Final

from edgespec.chat.tools import ToolCall


@dataclass(frozen=True, slots=True)
class TakenCalls:
    """The calls of an answer."""

    calls: tuple[ToolCall, ...] = ()
    are_text: bool = False
    """They came as the answer's text, which says nothing else."""


NO_CALLS: Final = TakenCalls()
