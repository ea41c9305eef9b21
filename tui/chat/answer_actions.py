"""What the chat's screen lets one set of answers: tools that they may call, a schema that they are held to."""

import asyncio
from pathlib import Path

from textual import work

from edgespec.errors import EdgespecError
from edgespec.text import one_line
from tui.chat.pane import ChatPane
from tui.chat.schema import load_schema
from tui.chat.tool_use import switch_tools
from tui.common.mode_screen import ModeScreen
from tui.common.wording import joined
from tui.services.app_services import AppServices


class AnswerActions(ModeScreen):
    """A screen with a pane that has questions answered."""

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self.pane = ChatPane(services)
        """Where questions are asked and answered."""
        self._schema = ""
        """The file that answers are held to."""

    def _is_busy(self) -> bool:
        """Whether an answer is under way; it is then said."""
        busy = self.pane.is_busy
        if busy:
            self.tell("an answer is under way: Esc stops it")
        return busy

    def _is_far(self, what: str) -> bool:
        """Whether a browser shows the app, whose reader may sit at another machine; it is then said."""
        if self.app.is_web:
            self.tell(f"{what} are not available in a browser: start the app in a terminal")
        return self.app.is_web

    def action_tools(self) -> None:
        """Lets the model call tools, or no more."""
        self._switch_tools(not self.services.tools.is_on)

    @work(exclusive=True, group="tools")
    async def _switch_tools(self, on: bool) -> None:
        if self._is_busy() or self._is_far("tools"):
            return
        self.tell("starting the MCP servers" if on else "ending the MCP servers")
        try:
            said = await switch_tools(self.services.tools, on=on)
        except EdgespecError as error:
            self.tell(joined(error.message, error.hint), error=True)
            return
        for failure in said.failed:
            self.services.tell_error(failure)
        self.tell(said.text, error=on and not self.services.tools.is_on)

    def action_schema(self) -> None:
        """Says what answers are held to."""
        held = self._schema and f"answers are held to {self._schema}; /schema off ends that"
        self.tell(held or "answers have any form; /schema FILE holds them to a JSON schema")

    @work(exclusive=True, group="schema")
    async def _set_schema(self, argument: str) -> None:
        """Holds answers to a schema from the next one on, or lets them have any form again."""
        if self._is_far("files with schemas"):
            return
        if argument.lower() == "off":
            self.pane.asking.structure, self._schema = None, ""
        else:
            try:
                self.pane.asking.structure = await asyncio.to_thread(load_schema, Path(argument))
            except EdgespecError as error:
                self.tell(joined(error.message, error.hint), error=True)
                return
            self._schema = one_line(argument)
        self.action_schema()
