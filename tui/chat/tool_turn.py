"""A tool that an answer called: one line with its arguments, which opens into what came of it."""

import json
from typing import cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Collapsible, Static

from edgespec.chat.tools import ToolCall
from edgespec.text import human_bytes, one_line, plain_text

_MOST_OF_LINE = 200
"""Characters of a result in the line that opens into it, which is cut to the screen's width."""
_MOST_SHOWN = 20_000
"""Characters of a result; all of it is kept and goes to the model."""


class ToolTurn(Vertical):
    """A call and its result.

    Args:
        call: Of an answer.
        result: What came of it; None while it is not there.
    """

    def __init__(self, call: ToolCall, result: str | None = None) -> None:
        super().__init__(classes="turn tool-turn")
        self._call = Static(plain_text(describe_call(call)), markup=False, classes="tool-call")
        self._text = Static("", markup=False)
        self._fold = Collapsible(self._text, classes="thought")
        self.show(result)

    def compose(self) -> ComposeResult:
        """Call and result."""
        yield from (self._call, self._fold)

    def show(self, result: str | None) -> None:
        """The result is there."""
        self._fold.display = result is not None
        if result is not None:
            # A string would be read as markup, and a tool may say anything.
            self._fold.title = cast(str, Content(describe_result(result)))
            shown = result if len(result) <= _MOST_SHOWN else f"{result[:_MOST_SHOWN]}…"
            self._text.update(plain_text(shown))


def describe_call(call: ToolCall) -> str:
    """Name and arguments in one line."""
    try:
        arguments = json.dumps(json.loads(call.arguments or "{}"), ensure_ascii=False)
    except ValueError:
        arguments = call.arguments
    return f"tool {one_line(call.name)} {one_line(arguments)}"


def describe_result(result: str) -> str:
    """The line that opens into it: what it says, where that is short."""
    lines = result.count("\n") + 1
    size = human_bytes(len(result.encode("utf-8", "replace")))
    first = one_line(result)
    if len(first) > _MOST_OF_LINE:
        first = first[: _MOST_OF_LINE - 1].rstrip() + "…"
    return plain_text(f"result · {lines} lines, {size} · {first}" if lines > 1 else f"result · {first}")
