"""What the chat's screen lets one set of answers: tools that they may call, a schema that they are held to."""

import asyncio
from pathlib import Path

from textual import work

from edgespec.errors import EdgespecError
from edgespec.text import one_line
from tui.chat.pane import ChatPane
from tui.chat.schema import load_schema
from tui.chat.tabs import ChatTabs
from tui.chat.tool_use import switch_tools
from tui.common.mode_screen import ModeScreen
from tui.common.wording import joined
from tui.services.app_services import AppServices


class AnswerActions(ModeScreen):
    """A screen with a pane that has questions answered."""

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self.tabs = ChatTabs(services)
        """The conversations that are open."""

    @property
    def pane(self) -> ChatPane:
        """Where questions are asked and answered: the one that is shown."""
        return self.tabs.shown

    def tell(self, text: str, *, error: bool = False) -> None:
        """Says it in the status line of the conversation that is shown."""
        self.pane.tell(text, error=error)

    def _is_busy(self) -> bool:
        """Whether an answer is under way; it is then said."""
        busy = self.pane.is_busy or self.pane.sending.attaching.is_busy
        if busy:
            self.tell("an answer is under way: Esc stops it, and Alt+T opens another tab")
        return busy

    def _is_busy_anywhere(self) -> bool:
        """Whether an answer is under way in any tab; it is then said."""
        busy = self._is_busy()
        if not busy and self.tabs.is_answering:
            self.tell("an answer is under way in another tab: Esc there stops it")
            return True
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
        self._tell_schema(self.pane)

    def _tell_schema(self, pane: ChatPane) -> None:
        name = pane.asking.schema_name
        held = name and f"answers are held to {name}; /schema off ends that"
        pane.tell(held or "answers have any form; /schema FILE holds them to a JSON schema")

    @work(exclusive=True, group="schema")
    async def _set_schema(self, argument: str) -> None:
        """Holds answers to a schema from the next one on, or lets them have any form again."""
        pane = self.pane
        if self._is_far("files with schemas"):
            return
        if argument.lower() == "off":
            pane.asking.structure, pane.asking.schema_name = None, ""
        else:
            try:
                pane.asking.structure = await asyncio.to_thread(load_schema, Path(argument))
            except EdgespecError as error:
                pane.tell(joined(error.message, error.hint), error=True)
                return
            pane.asking.schema_name = one_line(argument)
        self._tell_schema(pane)
