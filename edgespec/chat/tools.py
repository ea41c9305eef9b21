"""Tools that a model may call."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from edgespec.decode.token import CallDelta as CallDelta

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

    @property
    def offered(self) -> tuple[Tool, ...]:
        """Those that the model is told of: none where it is to call none."""
        return () if self.choice == "none" else self.tools


NO_TOOLS: Final = Toolbox()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that an answer holds."""

    id: str
    name: str
    arguments: str
    """JSON text of an object."""
