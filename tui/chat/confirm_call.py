"""The question before a tool is run."""

from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Static

from edgespec.chat.tools import ToolCall
from edgespec.text import one_line, plain_text
from tui.common.dialog import Dialog
from tui.services.tools import shown_arguments

Permission = Literal["once", "always", "no", "stop"]
"""Whether a call is run; with `stop` neither it nor what the model would say to that."""


class ConfirmCall(Dialog[Permission]):
    """Shows a call whole. Nothing is run without an answer.

    Args:
        call: Of the model's answer.
        server: That has the tool.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer('once')", "Once", id="call.once", tooltip="Run it this time"),
        Binding(
            "a", "answer('always')", "Always", id="call.always", tooltip="Run this tool in this conversation"
        ),
        Binding("n", "answer('no')", "No", id="call.no", tooltip="Do not run it; the model goes on"),
        Binding(
            "escape,ctrl+c", "answer('stop')", "Stop", id="call.stop", tooltip="Do not run it, end the answer"
        ),
    ]

    def __init__(self, call: ToolCall, server: str) -> None:
        super().__init__()
        self._call, self._server = call, server

    def compose(self) -> ComposeResult:
        """What is to be run, and the answers."""
        name, server = one_line(self._call.name), one_line(self._server)
        with Vertical(classes="dialog dialog-wide"):
            yield Static(f"Run the tool {name} of {server}?", markup=False, classes="dialog-title")
            with VerticalScroll(id="call-arguments"):
                yield Static(plain_text(shown_arguments(self._call)), markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Stop (Esc)", id="stop")
                yield Button("No (n)", id="no")
                yield Button("Always here (a)", id="always")
                yield Button("Once (y)", id="once", variant="primary")

    def on_mount(self) -> None:
        """Nothing is run by an Enter that was meant for the prompt."""
        self.query_one("#no", Button).focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        answers: dict[str | None, Permission] = {"once": "once", "always": "always", "stop": "stop"}
        self.dismiss(answers.get(event.button.id, "no"))

    def action_answer(self, answer: Permission) -> None:
        """By key."""
        self.dismiss(answer)
