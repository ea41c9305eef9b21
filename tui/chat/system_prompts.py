"""The system prompt of a conversation, chosen from those that have names, or written."""

from typing import ClassVar, Final

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from edgespec.errors import EdgespecError
from edgespec.text import one_line, plain_text
from tui.common.ask import AskScreen, TextScreen
from tui.common.ask_line import LineScreen
from tui.common.dialog import Dialog
from tui.common.wording import joined
from tui.services.system_prompts import BUILT_IN, all_prompts, delete_prompt, own_prompts, save_prompt

_WRITE, _NONE, _NAMED = "write", "none", "named:"
_TITLES: Final = {_WRITE: "Write one for this conversation", _NONE: "None"}


class SystemPromptsScreen(Dialog[str | None]):
    """Dismissed with the text of the system prompt, or None where it stays as it is.

    Args:
        now: That of the conversation.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Close", id="prompts.cancel", tooltip="Leave it as it is"),
        Binding(
            "ctrl+n", "new", "New", id="prompts.new", tooltip="Save a new prompt under a name", priority=True
        ),
        Binding(
            "ctrl+e",
            "edit",
            "Edit",
            id="prompts.edit",
            tooltip="Change the text of the marked prompt",
            priority=True,
        ),
        Binding(
            "ctrl+d",
            "delete",
            "Delete",
            id="prompts.delete",
            tooltip="Delete the marked prompt",
            priority=True,
        ),
    ]
    AUTO_FOCUS = "#prompts"

    def __init__(self, now: str) -> None:
        super().__init__()
        self._now = now
        self._prompts: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """The names, and the text of the one that is marked."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("System prompt", classes="dialog-title")
            yield OptionList(id="prompts", markup=False, compact=True)
            with VerticalScroll(id="prompt-text", can_focus=False):
                yield Static("", markup=False, id="prompt-preview")
            yield Static("", markup=False, id="prompts-note", classes="error")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Marks the one that the conversation has."""
        self._fill()

    @property
    def _options(self) -> OptionList:
        return self.query_one("#prompts", OptionList)

    @property
    def _marked_name(self) -> str:
        """Of the marked one; empty where that has none."""
        option = self._options.highlighted_option
        found = option.id if option and option.id else ""
        return found.removeprefix(_NAMED) if found.startswith(_NAMED) else ""

    def _fill(self, name: str | None = None) -> None:
        """Reads them anew; marks one of a name, or that of the conversation."""
        self._tell("")
        try:
            self._prompts, own = all_prompts(), own_prompts()
        except EdgespecError as error:
            self._prompts, own = dict(BUILT_IN), {}
            self._tell_error(error)
        named = next((known for known, text in self._prompts.items() if text == self._now), None)
        options = self._options
        options.clear_options()
        options.add_options(Option(title, id=value) for value, title in _TITLES.items())
        for known in self._prompts:
            mark = "  (built in)" if known not in own else ""
            options.add_option(Option(f"{one_line(known)}{mark}", id=f"{_NAMED}{known}"))
        wanted = name or named
        place = f"{_NAMED}{wanted}" if wanted in self._prompts else _WRITE if self._now else _NONE
        options.highlighted = options.get_option_index(place)

    @on(OptionList.OptionHighlighted)
    def _marked(self, event: OptionList.OptionHighlighted) -> None:
        texts = {_WRITE: self._now, _NONE: ""}
        text = (
            self._prompts.get(self._marked_name, "")
            if self._marked_name
            else texts.get(event.option.id or "", "")
        )
        self.query_one("#prompt-preview", Static).update(plain_text(text))

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        match event.option.id:
            case "write":
                self._write()
            case "none":
                self.dismiss("")
            case _:
                self.dismiss(self._prompts.get(self._marked_name))

    @work
    async def _write(self) -> None:
        text = await self.app.push_screen_wait(TextScreen("System prompt", self._now))
        if text is not None:
            self.dismiss(text.strip())

    def action_cancel(self) -> None:
        """By key."""
        self.dismiss(None)

    @work
    async def action_new(self) -> None:
        """Saves another one under a name; it begins with what the marked one says."""
        name = await self.app.push_screen_wait(LineScreen("Name of the system prompt", "", "Go on"))
        if name is not None:
            await self._edit(name, self._prompts.get(name, self._now))

    @work
    async def action_edit(self) -> None:
        """Changes the text of the marked one."""
        if self._marked_name:
            await self._edit(self._marked_name, self._prompts[self._marked_name])

    async def _edit(self, name: str, before: str) -> None:
        text = await self.app.push_screen_wait(TextScreen(name, before))
        if text is None:
            return
        try:
            save_prompt(name, text)
        except EdgespecError as error:
            self._tell_error(error)
            return
        self._fill(" ".join(name.split()))

    @work
    async def action_delete(self) -> None:
        """Deletes the marked one, after a question."""
        name = self._marked_name
        if not name:
            return
        try:
            if name in own_prompts() and not await self.app.push_screen_wait(
                AskScreen(f"Delete the system prompt “{one_line(name)}”?", "Delete", "Keep")
            ):
                return
            delete_prompt(name)
        except EdgespecError as error:
            self._tell_error(error)
            return
        self._fill()

    def _tell(self, text: str) -> None:
        self.query_one("#prompts-note", Static).update(one_line(text))

    def _tell_error(self, error: EdgespecError) -> None:
        self._tell(joined(error.message, error.hint))
