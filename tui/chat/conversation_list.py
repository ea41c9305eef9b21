"""The saved conversations: found by any word in them, opened, renamed, pinned and deleted."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from edgespec.errors import EdgespecError
from edgespec.text import one_line, plain_text
from tui.chat.keeper import ChatKeeper
from tui.chat.listing import MOST_FOUND, MOST_LISTED, ChatSummary
from tui.common.ask import AskScreen
from tui.common.ask_line import LineScreen
from tui.common.dialog import Dialog
from tui.common.local_time import local_time
from tui.common.narrow import NARROW_COLUMNS
from tui.common.wording import joined

_EMPTY: Final = "No conversation is saved yet: each is, after its first message."
_MUTED: Final = "$foreground 70%"
_SPACES: Final = re.compile(r"\s+")
_MOST_OF_A_MODEL: Final = 22
"""Columns of its name."""


def _key(key: str, action: str, title: str, tooltip: str, *, shown: bool = True) -> Binding:
    name = action.partition("(")[0] if shown else key
    return Binding(key, action, title, id=f"conversations.{name}", tooltip=tooltip, show=shown, priority=True)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A conversation to open."""

    chat_id: str
    in_new_tab: bool = False


class OpenConversations(Protocol):
    """Those that are open while the list is shown."""

    def place_of(self, chat_id: str) -> int | None:
        """Where one is open."""

    def rename(self, chat_id: str, title: str) -> None:
        """One has another title."""

    def forget(self, chat_id: str) -> None:
        """One was deleted."""


class ConversationsScreen(Dialog[Chosen | None]):
    """Dismissed with the conversation to open, or None.

    Args:
        keeper: Of the chat.
        opened: Are told of what is done here.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Close", id="conversations.cancel", tooltip="Open nothing"),
        _key("alt+t", "new_tab", "New tab", "Open the conversation in another tab"),
        _key("ctrl+r", "rename", "Rename", "Give the conversation another title"),
        _key("ctrl+t", "pin", "Pin", "Keep the conversation above the others, or no longer"),
        _key("ctrl+d", "delete", "Delete", "Delete the conversation, after a question"),
        _key("up", "move('cursor_up')", "Up", "The conversation above", shown=False),
        _key("down", "move('cursor_down')", "Down", "The conversation below", shown=False),
        _key("pageup", "move('page_up')", "Page up", "A page up", shown=False),
        _key("pagedown", "move('page_down')", "Page down", "A page down", shown=False),
    ]
    AUTO_FOCUS = "#conversations-words"

    def __init__(self, keeper: ChatKeeper, opened: OpenConversations) -> None:
        super().__init__()
        self._keeper, self._opened = keeper, opened
        self._found: list[ChatSummary] = []
        self._total_n = 0
        self._words: str | None = None
        """What `_found` was found with; None before the first time."""
        self._opens = False
        """The first one is opened as soon as what is typed has been searched."""

    def compose(self) -> ComposeResult:
        """What is searched, what was found, and a line that says how many."""
        with Vertical(classes="dialog dialog-wide dialog-tall"):
            yield Static("Conversations", classes="dialog-title")
            yield Input(placeholder="search titles and messages", compact=True, id="conversations-words")
            yield OptionList(id="conversations", markup=False, compact=True)
            yield Static("", markup=False, id="conversations-note")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Shows the newest first."""
        self._options.can_focus = False
        self._search()

    def on_resize(self, _event: Resize) -> None:
        """Lines are cut to the width."""
        self.call_after_refresh(self._show)

    @property
    def _options(self) -> OptionList:
        return self.query_one("#conversations", OptionList)

    @property
    def _input(self) -> Input:
        return self.query_one("#conversations-words", Input)

    # What is found.

    @on(Input.Changed)
    def _typed(self) -> None:
        self._search()

    @work(exclusive=True, group="search")
    async def _search(self, chosen: str | None = None) -> None:
        """Finds what fits what is typed, in a thread; `chosen` stays the chosen one."""
        words = self._input.value.strip()
        try:
            found, total_n = await asyncio.to_thread(self._read, words)
        except EdgespecError as error:
            self._tell_error(error)
            return
        self._found, self._total_n, self._words = found, total_n, words
        self._show(chosen)
        if self._opens:
            self._open(self._chosen)

    def _read(self, words: str) -> tuple[list[ChatSummary], int]:
        store = self._keeper.store
        return (store.search(words) if words else store.summaries(MOST_LISTED)), store.count()

    def _show(self, chosen: str | None = None) -> None:
        if not self.is_attached or self._words is None:
            return
        options, chosen = self._options, chosen or (self._chosen.id if self._chosen else None)
        # The bar beside the lines comes and goes.
        width = options.size.width - options.styles.scrollbar_size_vertical
        options.clear_options()
        options.add_options(Option(describe_summary(one, width), id=one.id) for one in self._found)
        places = {one.id: place for place, one in enumerate(self._found)}
        options.highlighted = places.get(chosen or "", 0) if self._found else None
        self._tell(self._describe())

    def _describe(self) -> str:
        shown_n = len(self._found)
        if not self._total_n:
            return _EMPTY
        if self._words:
            more = ", in the newest messages" if shown_n == MOST_FOUND else ""
            return f"{_count(shown_n)} found{more}" if shown_n else "nothing has these words"
        if shown_n < self._total_n:
            return f"the newest {shown_n} of {_count(self._total_n)}: type to search all of them"
        return _count(shown_n)

    def _tell(self, text: str, *, error: bool = False) -> None:
        note = self.query_one("#conversations-note", Static)
        note.set_class(error, "error")
        note.update(one_line(text))

    def _tell_error(self, error: EdgespecError) -> None:
        self._tell(joined(error.message, error.hint), error=True)

    # What is done with one.

    @property
    def _chosen(self) -> ChatSummary | None:
        place = self._options.highlighted
        return self._found[place] if place is not None and place < len(self._found) else None

    @on(Input.Submitted)
    def _accepted(self) -> None:
        # Who types and presses Enter at once means what is typed.
        if self._words == self._input.value.strip():
            self._open(self._chosen)
        else:
            self._opens = True

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        if event.option.id is not None:
            self.dismiss(Chosen(event.option.id))

    def _open(self, chosen: ChatSummary | None) -> None:
        self._opens = False
        if chosen is not None:
            self.dismiss(Chosen(chosen.id))

    def action_cancel(self) -> None:
        """By key."""
        self.dismiss(None)

    def action_new_tab(self) -> None:
        """Opens the chosen one beside the others."""
        if (chosen := self._chosen) is not None:
            self.dismiss(Chosen(chosen.id, in_new_tab=True))

    def action_move(self, action: str) -> None:
        """Chooses another one; what is typed goes on."""
        getattr(self._options, f"action_{action}")()

    @work
    async def action_rename(self) -> None:
        """Gives the chosen one another title."""
        if (chosen := self._chosen) is None:
            return
        title = await self.app.push_screen_wait(LineScreen("Title of the conversation", chosen.title))
        if title is not None:
            self._change(chosen, lambda: self._rename(chosen.id, title))

    def action_pin(self) -> None:
        """Keeps the chosen one above the others, or no longer."""
        if (chosen := self._chosen) is not None:
            self._change(chosen, lambda: self._keeper.store.pin(chosen.id, not chosen.pinned))

    @work
    async def action_delete(self) -> None:
        """Deletes the chosen one, after a question."""
        if (chosen := self._chosen) is None:
            return
        is_open = ", which is open in a tab," if self._opened.place_of(chosen.id) is not None else ""
        question = f"Delete “{one_line(chosen.title)}”{is_open} and all that is kept of it?"
        if await self.app.push_screen_wait(AskScreen(question, "Delete", "Keep")):
            self._change(chosen, lambda: self._delete(chosen.id))

    def _rename(self, chat_id: str, title: str) -> None:
        self._keeper.store.rename(chat_id, title)
        self._opened.rename(chat_id, title)

    def _delete(self, chat_id: str) -> None:
        self._keeper.delete(chat_id)
        self._opened.forget(chat_id)

    def _change(self, chosen: ChatSummary, change: Callable[[], None]) -> None:
        try:
            change()
        except EdgespecError as error:
            self._tell_error(error)
            return
        self._search(chosen.id)


def describe_summary(one: ChatSummary, width: int) -> Content:
    """A conversation in a line, or two where there is little room, and below it the place where words were found.

    Args:
        one: The conversation.
        width: Columns there are.
    """
    model = Content(one_line(one.target or "no model")).truncate(_MOST_OF_A_MODEL, ellipsis=True)
    right = Content.styled(f"  {model.plain}  {local_time(one.updated_at):>15}", _MUTED)
    mark = Content.styled("★ ", "$text-accent") if one.pinned else Content("")
    left = Content.assemble(mark, one_line(one.title) or "(no words)")
    if width < NARROW_COLUMNS:
        below = Content.styled(f"  {local_time(one.updated_at)}  {model.plain}", _MUTED)
        parts = [part.truncate(width, ellipsis=True) for part in (left, below)]
        line = Content("\n").join(parts)
    else:
        left = left.truncate(max(width - right.cell_length, 8), ellipsis=True, pad=True)
        line = Content.assemble(left, right)
    if not one.excerpt:
        return line
    return Content.assemble(line, "\n", _excerpt(one.excerpt).truncate(width, ellipsis=True))


def _excerpt(parts: Sequence[str]) -> Content:
    styled = [
        # Not `one_line`, which takes away the spaces between the parts.
        Content.styled(plain_text(_SPACES.sub(" ", part)), "bold $text-primary" if place % 2 else _MUTED)
        for place, part in enumerate(parts)
    ]
    return Content.assemble("  ", *styled)


def _count(number: int) -> str:
    return "one conversation" if number == 1 else f"{number:,} conversations"
