"""Where messages are written: several lines, a history, slash commands that complete."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from tui.chat.attachments import dropped_files, mention
from tui.chat.path_completion import complete_path
from tui.chat.slash import matching_commands
from tui.common.status_line import Told

_HISTORY = 200
"""Messages."""


class PromptInput(TextArea):
    """Enter sends, Ctrl+J or Shift+Enter begins a line, Up and Down at the edges go through the history.

    Args:
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
            tooltip="Complete a slash command, or a path after @",
            show=False,
        ),
    ]

    @dataclass
    class Submitted(Message):
        """A message was sent."""

        text: str

    def __init__(self, take_back: Callable[[], str] = str) -> None:
        super().__init__(
            id="prompt",
            compact=True,
            highlight_cursor_line=False,
            placeholder="Ask something; / for commands, F1 for help",
        )
        self._take_back = take_back
        self._history: deque[str] = deque(maxlen=_HISTORY)
        self._place = 0
        self._draft = ""
        self.cursor_blink = False

    def remember(self, text: str) -> None:
        """Adds a message to the history."""
        if text and (not self._history or self._history[-1] != text):
            self._history.append(text)
        self._place = len(self._history)

    def put(self, text: str) -> None:
        """Replaces what is written, the cursor at its end."""
        self.load_text(text)
        self.move_cursor(self.document.end)

    def action_send(self) -> None:
        """Sends what is written, if anything is."""
        if self.text.strip():
            self.post_message(self.Submitted(self.text.strip()))

    def action_newline(self) -> None:
        """Begins a line."""
        self.insert("\n")

    def action_complete(self) -> None:
        """Completes the only command that fits, or a path after an `@`; elsewhere Tab moves on."""
        if self._complete_path():
            return
        fitting = matching_commands(self.text)
        if len(fitting) == 1:
            self.put(f"/{fitting[0].name} ")
        elif not fitting:
            self.screen.focus_next()

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

    async def _on_paste(self, event: events.Paste) -> None:
        if not self.app.is_web and (paths := dropped_files(event.text)):
            event.stop()
            event.prevent_default()
            await super()._on_paste(events.Paste(f"{' '.join(map(mention, paths))} "))

    async def _on_key(self, event: events.Key) -> None:
        # A priority binding would overtake keys that still wait for this widget, as when text is pasted as keys.
        active = self.screen.active_bindings.get(event.key)
        if active is not None and active.node is self and (active.binding.id or "").startswith("prompt."):
            event.stop()
            event.prevent_default()
            await self.run_action(active.binding.action)
        elif event.key == "up" and self.cursor_location[0] == 0:
            self._recall(-1, event)
        elif event.key == "down" and self.cursor_location[0] == self.document.line_count - 1:
            self._recall(1, event)

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
        self.put(self._history[place] if place < len(self._history) else self._draft)
        event.stop()
        event.prevent_default()
