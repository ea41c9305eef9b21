"""The chat: what can be done there, by key, slash command or palette, each as one action with one name."""

import os
import shlex
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.widgets import Static, TextArea

from edgespec.errors import EdgespecError, UsageError
from edgespec.text import one_line
from edgespec.worker.protocol import ChangeDraft, ChangeMode
from tui.chat.conversation import Conversation
from tui.chat.draft_choice import draft_choices
from tui.chat.prompt_input import PromptInput, matching_commands
from tui.chat.slash import SLASH_COMMANDS, parse_slash
from tui.chat.store import export_markdown
from tui.chat.talk import RAIL_COLUMNS, TalkScreen
from tui.chat.turn import AnswerTurn
from tui.common.ask import AskScreen, Choice, ChooseScreen, TextScreen
from tui.common.wording import MODE_WORDS, MODES_IN_ORDER, joined

_EDITORS = ("VISUAL", "EDITOR")


class ChatScreen(TalkScreen):
    """The first screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop", tooltip="End the answer; what came is kept"),
        Binding(
            "ctrl+s", "next_mode", "Mode", id="chat.mode", tooltip="Speculation: auto, model, n-gram, off"
        ),
        Binding("ctrl+t", "tint", "Tint", id="chat.tint", tooltip="Show which tokens came from the draft"),
        Binding(
            "ctrl+r", "regenerate", "Again", id="chat.regenerate", tooltip="Answer the last message again"
        ),
        Binding(
            "ctrl+up", "edit_last", "Edit", id="chat.edit", tooltip="Change the last message", show=False
        ),
        Binding(
            "ctrl+g",
            "editor",
            "$EDITOR",
            id="chat.editor",
            tooltip="Write the message in $EDITOR",
            show=False,
        ),
        Binding("ctrl+n", "new", "New", id="chat.new", tooltip="Begin another conversation"),
        Binding("ctrl+o", "open_saved", "Open", id="chat.open", tooltip="Open a saved conversation"),
        Binding("ctrl+b", "rail", "Charts", id="chat.rail", tooltip="Show or hide the charts", show=False),
        Binding("f9", "draft", "Draft", id="chat.draft", tooltip="Choose another draft model", show=False),
        Binding("f10", "system", "System", id="chat.system", tooltip="Change the system prompt", show=False),
        Binding("f11", "copy_last", "Copy", id="chat.copy", tooltip="Copy the last answer", show=False),
        Binding(
            "f12", "export", "Export", id="chat.export", tooltip="Write the chat as Markdown", show=False
        ),
        Binding("ctrl+l", "clear", "Clear", id="chat.clear", tooltip="Empty this conversation", show=False),
        Binding(
            "ctrl+f5",
            "restart_engine",
            "Restart engine",
            id="chat.restart",
            tooltip="Load the models again in a new process",
            show=False,
        ),
        Binding("pageup", "page(-1)", "Up", id="chat.up", tooltip="Scroll back", show=False, priority=True),
        Binding(
            "pagedown", "page(1)", "Down", id="chat.down", tooltip="Scroll on", show=False, priority=True
        ),
    ]

    @on(PromptInput.Submitted)
    def _submitted(self, event: PromptInput.Submitted) -> None:
        try:
            if self.run_slash(event.text):
                self.prompt_input.remember(event.text)
                self.prompt_input.put("")
                return
        except UsageError as error:
            self.tell(joined(error.message, error.hint), error=True)
            return
        if self._turn is not None:
            self.tell("one answer at a time: Esc stops this one")
            return
        self.prompt_input.remember(event.text)
        self.prompt_input.put("")
        self.ask(event.text.removeprefix("/") if event.text.startswith("//") else event.text)

    @on(TextArea.Changed)
    def _typed(self) -> None:
        fitting = matching_commands(self.prompt_input.text)
        if fitting:
            self.tell(self.slash_help(fitting))
        elif self._turn is None and self.query_one("#status", Static).has_class("slash"):
            self._tell_state()
        self.query_one("#status", Static).set_class(bool(fitting), "slash")

    def action_stop(self) -> None:
        """Ends the answer, or what is being loaded; what came is kept."""
        self._waiting = False
        self.services.engine.stop()

    def action_next_mode(self) -> None:
        """Drafts in the next way."""
        pair = self.services.engine.pair
        if pair is None:
            self.tell("no model is loaded yet")
            return
        modes = [m for m in MODES_IN_ORDER if pair.draft or m.value != "model"]
        place = modes.index(pair.mode) if pair.mode in modes else -1
        self.services.engine.ask(ChangeMode(modes[(place + 1) % len(modes)]))

    async def action_tint(self) -> None:
        """Shows or hides who thought of each token."""
        self.tinted = not self.tinted
        for turn in self.query(AnswerTurn):
            await turn.tint(self.tinted)
        self.tell("green: from the draft model, violet: from the text itself" if self.tinted else "")

    def action_rail(self) -> None:
        """Shows or hides the charts, from now on."""
        app = self.services
        app.change_settings(replace(app.settings, show_rail=not app.settings.show_rail))
        self.show_rail()
        if app.settings.show_rail and not self.rail.display:
            self.tell(f"the charts need {RAIL_COLUMNS} columns")

    def action_page(self, direction: int) -> None:
        """Scrolls by a page."""
        (self.turns.scroll_page_down if direction > 0 else self.turns.scroll_page_up)(animate=False)

    def run_slash(self, text: str) -> bool:
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
                self._set_mode(argument)
            case "draft" if argument:
                self.change_draft(argument)
            case "model" if argument:
                self.services.open_engine(argument)
            case "system" if argument:
                self.set_system(argument)
            case "export" if argument:
                self._export(Path(argument))
            case name:
                self.call_later(self.run_action, _ACTIONS[name])
        return True

    def slash_help(self, names: list[str]) -> str:
        """One line on the commands that fit what is typed."""
        if len(names) == 1:
            command = SLASH_COMMANDS[names[0]]
            return f"{command.usage} · {command.help}"
        return "  ".join(f"/{name}" for name in names)

    def _set_mode(self, word: str) -> None:
        mode = MODE_WORDS.get(word.lower())
        if mode is None:
            raise UsageError(f"/mode {word} is none", "it takes off, model, ngram or auto")
        self.services.engine.ask(ChangeMode(mode))

    def change_draft(self, name: str) -> None:
        """Drafts with another model; the target stays loaded."""
        self.services.engine.ask(ChangeDraft(name, self.services.launch.offline))

    def set_system(self, text: str) -> None:
        """The system prompt of this conversation, from its next answer on."""
        self.conversation = replace(self.conversation, system=text)
        self.tell("the system prompt holds from the next answer on" if text else "no system prompt")

    def _is_busy(self) -> bool:
        busy = self._turn is not None
        if busy:
            self.tell("an answer is under way: Esc stops it")
        return busy

    def action_new(self) -> None:
        """Begins another conversation; this one is kept."""
        if not self._is_busy():
            self.show_conversation(Conversation.begin(self.default_system()))
            self.prompt_input.focus()

    @work
    async def action_clear(self) -> None:
        """Empties this conversation, after a question."""
        if self._is_busy() or not self.conversation.messages:
            return
        if await self.app.push_screen_wait(
            AskScreen("Empty this conversation and delete its file?", "Empty")
        ):
            self.store.delete(self.conversation)
            self.show_conversation(Conversation.begin(self.conversation.system))

    @work
    async def action_open_saved(self) -> None:
        """Opens a saved conversation."""
        if self._is_busy():
            return
        saved = {chat.id: chat for chat in self.store.load_all()}
        choices = [
            Choice(
                chat.id,
                f"{chat.updated_at[:16].replace('T', ' ')}  {one_line(chat.title)}",
                f"{len(chat.messages)} messages with {chat.target or 'no model'}",
            )
            for chat in saved.values()
        ]
        empty = "No conversation is saved yet: each is, after its first message."
        found = await self.app.push_screen_wait(ChooseScreen("Open a conversation", choices, empty))
        if found is not None:
            self.show_conversation(saved[found])

    def action_regenerate(self) -> None:
        """Answers the last message again."""
        if self._is_busy():
            return
        before = self.conversation.without_last_answer()
        if not before.messages:
            self.tell("there is no message to answer again")
            return
        if before != self.conversation:
            for turn in list(self.query(AnswerTurn))[-1:]:
                turn.remove()
            self.conversation = before
        self.answer()

    def action_edit_last(self) -> None:
        """Takes the last message back into the prompt; its answer goes."""
        if self._is_busy():
            return
        before, question = self.conversation.without_last_question()
        if question:
            self.show_conversation(before)
            self.prompt_input.put(question)
            self.prompt_input.focus()

    def action_editor(self) -> None:
        """Writes the message in the user's own editor."""
        command = next((os.environ[name] for name in _EDITORS if os.environ.get(name)), "")
        if not command:
            self.tell("set EDITOR to the editor that shall open, such as EDITOR=nano", error=True)
            return
        with tempfile.TemporaryDirectory(prefix="edgespec-") as folder:
            path = Path(folder) / "message.md"
            path.write_text(self.prompt_input.text, encoding="utf-8")
            try:
                with self.app.suspend():
                    subprocess.run([*shlex.split(command), str(path)], check=False)
                self.prompt_input.put(path.read_text(encoding="utf-8", errors="replace").rstrip("\n"))
            except SuspendNotSupported:
                self.tell("an editor cannot be opened from here: write in this field", error=True)
            except OSError as error:
                self.tell(f"{command} cannot be started: {error.strerror or error}", error=True)

    @work
    async def action_system(self) -> None:
        """Shows the system prompt, to be changed."""
        text = await self.app.push_screen_wait(TextScreen("System prompt", self.conversation.system))
        if text is not None:
            self.set_system(text.strip())

    @work
    async def action_draft(self) -> None:
        """Chooses a draft among what is here."""
        pair = self.services.engine.pair
        if pair is None:
            self.tell("no model is loaded yet")
            return
        title = f"Draft for {pair.target}, now {pair.draft or 'none'}"
        found = await self.app.push_screen_wait(ChooseScreen(title, draft_choices(pair)))
        if found is not None:
            self.change_draft(found)

    def action_copy_last(self) -> None:
        """Copies the last answer."""
        answer = self.conversation.last_answer()
        if answer is None:
            self.tell("there is no answer to copy")
            return
        self.app.copy_to_clipboard(answer.content)
        self.tell("copied")

    def action_export(self) -> None:
        """Writes the conversation beside where the app was started."""
        self._export(Path(f"chat-{self.conversation.id[:15]}.md"))

    def _export(self, path: Path) -> None:
        try:
            self.tell(f"written: {export_markdown(self.conversation, path)}")
        except EdgespecError as error:
            self.tell(joined(error.message, error.hint), error=True)

    def action_race_last(self) -> None:
        """Races the last message."""
        before = self.conversation.without_last_answer()
        self.services.go("race", with_=before.messages[-1].content if before.messages else None)

    def action_restart_engine(self) -> None:
        """Loads the models again in a new process."""
        if not self._is_busy():
            self.services.open_engine()


_ACTIONS = {
    "help": "app.help",
    "new": "new",
    "open": "open_saved",
    "clear": "clear",
    "system": "system",
    "regenerate": "regenerate",
    "edit": "edit_last",
    "editor": "editor",
    "model": "app.go('models')",
    "draft": "draft",
    "mode": "next_mode",
    "tint": "tint",
    "rail": "rail",
    "copy": "copy_last",
    "export": "export",
    "race": "race_last",
    "restart": "restart_engine",
    "logs": "app.logs",
    "settings": "app.settings",
    "quit": "app.quit",
}
"""Slash command -> action, where nothing comes after it."""
