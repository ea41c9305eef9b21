"""The chat: what can be done there, by key, slash command or palette, each as one action with one name."""

from collections.abc import Awaitable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.events import Resize

from edgespec.chat.template import Think
from edgespec.decode.policy import Mode
from edgespec.errors import EdgespecError, UsageError
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import SamplingWish
from edgespec.worker.protocol import ChangeDraft, ChangeMode
from tui.chat.choices import draft_choices
from tui.chat.context_meter import ContextUsed
from tui.chat.editor import edit_in_editor
from tui.chat.keys import CHAT_KEYS
from tui.chat.modes import mode_named, next_mode, next_think, switch_named, think_named
from tui.chat.prompt_input import PromptInput
from tui.chat.rail import Rail
from tui.chat.sampling import SamplingScreen, Scope, read_sampling
from tui.chat.saved import SavedConversations
from tui.chat.slash import parse_slash
from tui.chat.store import export_markdown
from tui.chat.system_prompts import SystemPromptsScreen
from tui.chat.tab_actions import TabActions
from tui.common.ask import ChooseScreen
from tui.common.handover import hand_over
from tui.common.wording import joined
from tui.services.app_services import AppServices
from tui.services.system_prompts import prompt_named

_RAIL_COLUMNS = 100


class ChatScreen(TabActions):
    """The first screen. Its panes have questions answered; what else can be done is done here."""

    NAME = "chat"
    BINDINGS: ClassVar[list[BindingType]] = CHAT_KEYS
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-tall")]  # noqa: RUF012

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self._engine = services.engine
        self._saved = SavedConversations(self.tabs, self, services)
        self.rail = Rail(services.engine)
        """The charts."""

    def compose_body(self) -> ComposeResult:
        """Conversation and prompt at the left, charts at the right."""
        with Horizontal():
            yield from (self.tabs, self.rail)

    def on_mount(self) -> None:
        """Loads what was asked for on the command line, where that leads here."""
        self.prompt.focus()
        self._show_rail()
        if self.services.launch.screen == "chat":
            self.services.open_engine()

    @property
    def prompt(self) -> PromptInput:
        """Where messages are written."""
        return self.pane.prompt

    def on_resize(self, _event: Resize) -> None:
        """Small terminals have no room for charts."""
        self._show_rail()

    def _show_rail(self) -> None:
        self.rail.display = self.services.settings.show_rail and self.size.width >= _RAIL_COLUMNS
        self._show_context()

    @on(ContextUsed)
    def _show_context(self) -> None:
        """Beside the status where there are no charts."""
        used = self.pane.context.used
        for meter in (self.rail.context, self.pane.meter):
            meter.show(used.used, used.size)
        self.pane.meter.display &= not self.rail.display

    # What is written.

    @on(PromptInput.Submitted)
    def _submitted(self, event: PromptInput.Submitted) -> None:
        try:
            if self._run_slash(event.text):
                self.prompt.remember(event.text)
                self.prompt.put("")
                return
        except EdgespecError as error:
            self.tell(joined(error.message, error.hint), error=True)
            return
        self.prompt.remember(event.text)
        self.prompt.put("")
        text = event.text.removeprefix("/") if event.text.startswith("//") else event.text
        self.pane.sending.send(text, event.files)

    def _run_slash(self, text: str) -> bool:
        """Does what a slash command says; False when the text is a message.

        Raises:
            UsageError: an unknown command, or an argument that it does not take.
        """
        line = parse_slash(text)
        if line is None:
            return False
        argument = line.argument
        match line.command.name:
            case "mode" if argument:
                self._change_mode(mode_named(argument))
            case "think" if argument:
                self._set_think(think_named(argument))
            case "tools" if argument:
                self._switch_tools(switch_named(argument))
            case "schema" if argument:
                self._set_schema(argument)
            case "draft" if argument:
                self._change_draft(argument)
            case "model" if argument:
                self._open_model(argument)
            case "tab" if argument:
                self.change_tab(argument.lower())
            case "version" if argument:
                self.show_version(argument)
            case "sampling" if argument:
                self.pane.set_sampling(read_sampling(argument, self._sampling_wishes()))
            case "system" if argument:
                self._set_system(prompt_named(argument) or argument)
            case "rename" if argument:
                self.action_rename(argument)
            case "export" if argument:
                self._export(Path(argument))
            case _:
                self.call_later(self.run_action, line.command.action)
        return True

    def interrupt(self) -> bool:
        """Stops the answer, or clears what is written; returns whether there was anything of the kind."""
        if self.pane.is_at_work:
            self.pane.stop()
        elif self.prompt.clear_away():
            self.tell("cleared; Up brings it back")
        else:
            return False
        return True

    # The engine.

    def action_stop(self) -> None:
        """Ends the answer, or what is being loaded; what came is kept."""
        self.pane.stop()

    def _open_model(self, name: str) -> None:
        """Another target, as soon as it is found; the one that is loaded answers until then."""
        if not self._is_busy_anywhere():
            self.tell(f"looking for {name}")
            self.services.open_engine(name)

    def action_next_mode(self) -> None:
        """Drafts in the next way."""
        pair = self._engine.pair
        if pair is None:
            self.tell("no model is loaded yet")
        else:
            self._change_mode(next_mode(pair))

    def _change_mode(self, mode: Mode) -> None:
        if not self.lacks_engine("another way of drafting"):
            self._engine.ask(ChangeMode(mode))

    def action_next_think(self) -> None:
        """Lets the model think, or not, or as its template has it, from the next answer on."""
        self._set_think(next_think(self.pane.asking.thinking.think))

    def _set_think(self, think: Think) -> None:
        self.pane.asking.thinking = replace(self.pane.asking.thinking, think=think)
        self.tell(f"thinking: {think} from the next answer, if the model's template has a switch for it")

    @work
    async def action_draft(self) -> None:
        """Chooses a draft among what is here."""
        pair = self._engine.pair
        if self.lacks_engine("another draft"):
            return
        if pair is None:
            self.tell("no model is loaded yet")
            return
        title = f"Draft for {pair.target}, now {pair.draft or 'none'}"
        found = await self.app.push_screen_wait(ChooseScreen(title, draft_choices(pair)))
        if found is not None:
            self._change_draft(found)

    def _change_draft(self, name: str) -> None:
        """Drafts with another model; the target stays loaded."""
        if not self.lacks_engine("another draft"):
            self._engine.ask(ChangeDraft(name, self.services.launch.offline))

    def action_restart_engine(self) -> None:
        """Loads the models again in a new process."""
        if not self._is_busy_anywhere():
            self.services.open_engine()

    def action_race_last(self) -> None:
        """Races the last message."""
        if self.lacks_engine("a race"):
            return
        before = self.transcript.conversation.without_last_answer()
        self.services.go("race", with_=before.messages[-1].content if before.messages else None)

    # The conversation.

    def action_new(self) -> None:
        """Begins another conversation; this one is kept."""
        if not self._is_busy():
            self.pane.show(self.pane.beginning.empty())

    @work
    async def action_clear(self) -> None:
        """Deletes this conversation, after a question."""
        if not self._is_busy():
            await self._tell_of(self._saved.delete())

    @work
    async def action_open_saved(self) -> None:
        """Opens a saved conversation."""
        await self._tell_of(self._saved.choose())

    @work
    async def action_rename(self, title: str = "") -> None:
        """Gives this conversation another title."""
        await self._tell_of(self._saved.rename(title))

    @work
    async def action_pin(self) -> None:
        """Keeps this conversation above the others in lists, or no longer."""
        await self._tell_of(self._saved.pin())

    async def _tell_of(self, change: Awaitable[str | None]) -> None:
        """Says what came of a change of what is saved."""
        try:
            if said := await change:
                self.tell(said)
        except EdgespecError as error:
            self.tell(joined(error.message, error.hint), error=True)

    def action_regenerate(self) -> None:
        """Answers the last message again."""
        if self._is_busy():
            return
        if not self.transcript.conversation.messages:
            self.tell("no message to answer again")
            return
        self.pane.regenerate()

    def action_continue(self) -> None:
        """Lets the last answer go on where it was cut."""
        if not self._is_busy() and not self.pane.go_on():
            self.tell("the last answer is complete: there is nothing to continue")

    @work
    async def action_sampling(self) -> None:
        """Shows how answers are sampled, to be changed."""
        pair = self._engine.pair
        own = pair.sampling if pair else Sampling()
        change = await self.app.push_screen_wait(SamplingScreen(own, self._sampling_wishes()))
        try:
            if change is not None:
                self.pane.set_sampling(change)
        except UsageError as error:
            self.tell(joined(error.message, error.hint), error=True)

    def _sampling_wishes(self) -> dict[Scope, SamplingWish]:
        sampling = self.pane.sampling
        return {"chat": sampling.of_chat(self.transcript.conversation), "model": sampling.of_model()}

    @work
    async def action_system(self) -> None:
        """Chooses or writes the system prompt."""
        before = self.transcript.conversation.system
        text = await self.app.push_screen_wait(SystemPromptsScreen(before))
        if text is not None:
            self._set_system(text)

    def _set_system(self, text: str) -> None:
        """The system prompt of this conversation, from its next answer on."""
        self.transcript.conversation = replace(self.transcript.conversation, system=text)
        self.tell("the system prompt applies from the next answer" if text else "no system prompt")

    def action_copy_last(self) -> None:
        """Copies the last answer."""
        answer = self.transcript.conversation.last_answer()
        if answer is None:
            self.tell("no answer to copy")
            return
        self.app.copy_to_clipboard(answer.content)

    def action_copy(self) -> None:
        """Lets one pick an answer, or a block of code, to copy."""
        if not self.pane.copy_bar.open():
            self.tell("there is no answer to copy")

    def action_export(self) -> None:
        """Writes the conversation beside where the app was started."""
        self._export(Path(f"chat-{self.transcript.conversation.id[:15]}.md"))

    @work
    async def _export(self, path: Path) -> None:
        write = partial(export_markdown, self.transcript.conversation)
        try:
            self.tell(await hand_over(self.app, path, write))
        except EdgespecError as error:
            self.tell(joined(error.message, error.hint), error=True)

    def action_editor(self) -> None:
        """Writes the message in the user's own editor."""
        try:
            self.prompt.put(edit_in_editor(self.app, self.prompt.message))
        except EdgespecError as error:
            self.tell(joined(error.message, error.hint), error=True)

    # How it looks.

    async def action_tint(self) -> None:
        """Shows or hides who thought of each token."""
        if self.lacks_engine("a tint of drafted tokens"):
            return
        await self.transcript.tint(not self.transcript.tinted)
        shown = "green: from the draft model, violet: from the text itself, blue: from a schema"
        self.tell(shown if self.transcript.tinted else "")

    def action_thoughts(self) -> None:
        """Opens or folds what the model thought."""
        self.transcript.toggle_thoughts()

    def action_wrap(self) -> None:
        """Wraps long lines of code, or lets them run on, from now on."""
        settings = replace(self.services.settings, wrap_code=not self.services.settings.wrap_code)
        self.services.change_settings(settings)
        for pane in self.tabs.panes:
            pane.transcript.wrap_code(settings.wrap_code)
        self.tell("long lines of code wrap" if settings.wrap_code else "long lines of code scroll sideways")

    def action_rail(self) -> None:
        """Shows or hides the charts, from now on."""
        settings = replace(self.services.settings, show_rail=not self.services.settings.show_rail)
        self.services.change_settings(settings)
        self._show_rail()
        if settings.show_rail and not self.rail.display:
            self.tell(f"the charts need {_RAIL_COLUMNS} columns")

    def action_newest(self) -> None:
        """Shows the newest text and follows it."""
        self.transcript.show_newest()

    def action_page(self, direction: int) -> None:
        """Scrolls by a page."""
        turns = self.transcript
        (turns.scroll_page_down if direction > 0 else turns.scroll_page_up)(animate=False)
