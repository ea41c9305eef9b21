"""Tools that a model may call."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

ToolChoice = Literal["auto", "none", "required"]
"""Whether the model calls a tool: as it likes, not at all, or one at least."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that whoever asks would run."""

    name: str
    description: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """JSON schema of its arguments."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of a request."""

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = "auto"
    only: str = ""
    """With `required`: the one that has to be called."""
    parallel: bool = True
    """Whether one answer may call several."""


NO_TOOLS: Final = Toolbox()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that an answer holds."""

    id: str
    name: str
    arguments: str
    """JSON text of an object."""


@dataclass(frozen=True, slots=True)
class CallDelta:
    """More of a call that is being written: its name and id come whole and first, its arguments in pieces."""

    index: int
    """Of the call in its answer, from 0."""
    id: str = ""
    name: str = ""
    arguments: str = ""
