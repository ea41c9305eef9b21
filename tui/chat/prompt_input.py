"""Where messages are written: several lines, a history, collapsed pastes, a menu of slash commands."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.document._document import Location
from textual.message import Message
from textual.widgets import TextArea

from tui.chat.attachments import dropped_files, mention, mentioned_files
from tui.chat.keys import PICK_KEY
from tui.chat.marked_area import MarkedArea
from tui.chat.path_completion import complete_path
from tui.chat.slash_menu import Completion, SlashMenu
from tui.common.status_line import Told

_HISTORY = 200
"""Messages."""


class PromptInput(MarkedArea):
    """Enter sends, Ctrl+J or Shift+Enter begins a line, Up and Down at the edges go through the history.

    While a message of the history stands there as it was found, Up and Down go on at once, however many lines it has.

    Args:
        menu: What it offers while a slash command is written.
        take_back: Gives what was sent and waits, one at a time, which Up brings back first; empty where nothing does.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", id="prompt.send", tooltip="Send the message", show=False),
        Binding(
            "ctrl+j,shift+enter,alt+enter",
            "newline",
            "New line",
            id="prompt.newline",
            tooltip="Begin another line of the message",
            show=False,
        ),
        Binding(
            "tab",
            "complete",
            "Complete",
            id="prompt.complete",
            tooltip="Complete a command or an @path, or open a paste",
            show=False,
        ),
        Binding(
            "ctrl+shift+z",
            "redo",
            "Redo",
            id="prompt.redo",
            tooltip="Redo what Ctrl+Z took back",
            show=False,
        ),
        PICK_KEY,  # which Textual redoes with
    ]

    @dataclass
    class Submitted(Message):
        """A message was sent."""

        text: str
        files: tuple[str, ...] = ()
        """That are mentioned in it; a paste mentions none."""

    def __init__(self, menu: SlashMenu, take_back: Callable[[], str] = str) -> None:
        super().__init__("prompt", "Ask something; / for commands, F1 for help")
        self._take_back = take_back
        self._history: deque[str] = deque(maxlen=_HISTORY)
        self._place = 0
        self._draft = ""
        self._found: tuple[str, Location] | None = None
        """What the history gave, and where that left the cursor."""
        self.cursor_blink = False
        self.menu = menu

    def allow_focus(self) -> bool:
        """Not while another tab is shown: keys would go where nobody sees them."""
        return super().allow_focus() and all(node.display for node in self.ancestors_with_self)

    def remember(self, text: str) -> None:
        """Adds a message to the history."""
        if text and (not self._history or self._history[-1] != text):
            self._history.append(text)
        self._place = len(self._history)

    def put(self, text: str) -> None:
        """Replaces what is written, the cursor at its end; what was pasted before is a mark again."""
        self.load_text(self.pastes.shorten(text))
        self.move_cursor(self.document.end)

    def clear_away(self) -> bool:
        """Empties the prompt; Up brings back what was there. Returns whether anything was."""
        if not self.text:
            return False
        self.remember(self.message.strip())
        self.put("")
        return True

    def action_send(self) -> None:
        """Sends what is written, or the line of the menu that is marked."""
        self._follow()  # keys that came at once have overtaken what the menu was told
        chosen = self.menu.chosen
        text = chosen.text if chosen else self.message.strip()
        if text:
            self.post_message(self.Submitted(text, () if chosen else self.files))

    @property
    def files(self) -> tuple[str, ...]:
        """Those that are mentioned. Who sits before a browser has no files on this machine."""
        return () if self.app.is_web else tuple(mentioned_files(self.text))

    def action_newline(self) -> None:
        """Begins a line."""
        self.insert("\n")

    def action_complete(self) -> None:
        """Goes on with a path after an `@`, takes the marked line of the menu, opens the menu again, or a paste at the cursor; elsewhere Tab moves on."""
        if self._complete_path():
            return
        self._follow()
        if (found := self.menu.only) is not None:
            self.put(f"{found.text} " if found.takes_more else found.text)
        elif self.text.startswith("/"):
            self.menu.reopen()
        elif not self.open_mark():
            self.screen.focus_next()

    def action_cursor_line_end(self, select: bool = False) -> None:
        """To the end of the line; where nothing is written, the key is the conversation's."""
        if not self.text:
            raise SkipAction
        super().action_cursor_line_end(select)

    def take(self, completion: Completion) -> None:
        """A line of the menu was clicked: goes on with it, or sends it where nothing can follow."""
        self.focus()
        self.put(f"{completion.text} " if completion.takes_more else completion.text)
        if not completion.takes_more:
            # Made while the pane handles a click, which would pass for its sender and end its way there.
            self.post_message(self.Submitted(completion.text).set_sender(self))

    @on(TextArea.Changed)
    def _follow(self) -> None:
        self.menu.follow(self.text)

    def _complete_path(self) -> bool:
        """Goes on with a mention of a file, as far as its path is certain; returns whether one is being written."""
        row, column = self.cursor_location
        found = complete_path(self.document[row][:column])
        if found is None or self.app.is_web:
            return False
        self.replace(found.common, (row, found.start), (row, column))
        if len(found.paths) > 1:
            self.post_message(Told("  ".join(found.paths)))
        return True

    def stand_in(self, pasted: str) -> str:
        """Files that are dropped on the terminal are mentioned."""
        paths = [] if self.app.is_web else dropped_files(pasted)
        return f"{' '.join(map(mention, paths))} " if paths else super().stand_in(pasted)

    async def _on_key(self, event: events.Key) -> None:
        # A priority binding would overtake keys that still wait for this widget, as when text is pasted as keys.
        active = self.screen.active_bindings.get(event.key)
        if event.key.startswith("alt+") and event.is_printable:
            event.prevent_default()  # a terminal sends the character behind an Esc: a key, and nothing to write
        elif self.menu.is_open and event.key in ("up", "down", "escape"):
            event.stop()
            event.prevent_default()
            if event.key == "escape":
                self.menu.close()
            else:
                self.menu.step(1 if event.key == "down" else -1)
        elif active is not None and active.node is self and (active.binding.id or "").startswith("prompt."):
            event.stop()
            event.prevent_default()
            await self.run_action(active.binding.action)
        elif event.key == "up" and (self.cursor_location[0] == 0 or self._is_found):
            self._recall(-1, event)
        elif event.key == "down" and (
            self.cursor_location[0] == self.document.line_count - 1 or self._is_found
        ):
            self._recall(1, event)

    @property
    def _is_found(self) -> bool:
        """Whether what the history gave stands there untouched."""
        return self._found == (self.text, self.cursor_location)

    def _recall(self, step: int, event: events.Key) -> None:
        if step < 0 and not self.text and (text := self._take_back()):
            self.put(text)
            event.stop()
            event.prevent_default()
            return
        place = self._place + step
        if not 0 <= place <= len(self._history):
            return
        if self._place == len(self._history):
            self._draft = self.text
        self._place = place
        if place < len(self._history):
            self.put(self.pastes.collapse(self.pastes.shorten(self._history[place])))
        else:
            self.put(self._draft)
        self._found = (self.text, self.cursor_location)
        event.stop()
        event.prevent_default()
