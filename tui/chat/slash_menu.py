"""The list of slash commands above the prompt, and of what can come after them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from textual import on, work
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from edgespec.text import one_line
from edgespec.worker.protocol import PairOpened
from tui.chat.arguments import Argument, is_looked_up, look_up, words_of
from tui.chat.slash import SlashCommand, begun_argument, matching_commands
from tui.common.narrow import NARROW_COLUMNS

_MOST_PADDED: Final = 30
"""Cells of the first column; what is longer pushes its own text to the right."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A line of the list."""

    text: str
    """What is written once it is taken."""
    title: str
    detail: str
    takes_more: bool = False
    """Something may come after it."""


class SlashMenu(OptionList, can_focus=False):
    """Follows what is written. The prompt, which keeps the focus, moves in it and takes from it.

    Args:
        pair: What is loaded at the moment.
    """

    @dataclass
    class Taken(Message):
        """A line was clicked."""

        completion: Completion

    def __init__(self, pair: Callable[[], PairOpened | None]) -> None:
        super().__init__(id="slash-menu", markup=False, compact=True)
        self._pair = pair
        self._text = ""
        self._is_refused = False
        """Closed by hand, until another command is begun."""
        self._looked_up: dict[str, Sequence[Argument]] = {}
        """By commands; what lies on disk may change until another command is begun."""
        self._offered: list[Completion] = []
        self.display = False

    @property
    def is_open(self) -> bool:
        """Whether it has something to offer."""
        return bool(self._offered)

    @property
    def chosen(self) -> Completion | None:
        """The line that is marked."""
        return self._offered[self.highlighted] if self._offered and self.highlighted is not None else None

    @property
    def only(self) -> Completion | None:
        """The marked line, or the first."""
        return self.chosen or (self._offered[0] if self._offered else None)

    def follow(self, text: str) -> None:
        """Shows what goes on from a text."""
        if text == self._text:
            return
        self._text = text
        if not text.startswith("/"):
            self._is_refused = False
            self._looked_up.clear()
        self._show([] if self._is_refused else self._completions())

    def reopen(self) -> None:
        """Shows it again after it was closed."""
        self._is_refused = False
        self._show(self._completions())

    def close(self) -> None:
        """Closes it, until another command is begun."""
        self._is_refused = True
        self._show([])

    def step(self, direction: int) -> None:
        """Marks the line above (-1) or below (1), from the last to the first."""
        (self.action_cursor_down if direction > 0 else self.action_cursor_up)()

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Taken(self._offered[event.option_index]))

    def _completions(self) -> list[Completion]:
        if begun := begun_argument(self._text):
            return self._arguments(*begun)
        is_narrow = self.app.size.width < NARROW_COLUMNS
        return [
            Completion(
                f"/{command.name}",
                f"/{command.name}" if is_narrow else command.usage,
                command.help,
                bool(command.argument),
            )
            for command in matching_commands(self._text)
        ]

    def _arguments(self, command: SlashCommand, written: str) -> list[Completion]:
        known: Sequence[Argument] = words_of(command)
        if is_looked_up(command):
            if command.name not in self._looked_up:
                self._looked_up[command.name] = ()
                self._look_up(command)
            known = self._looked_up[command.name]
        fitting = [argument for argument in known if written.lower() in argument.value.lower()]
        fitting.sort(key=lambda argument: not argument.value.lower().startswith(written.lower()))
        return [
            Completion(f"/{command.name} {argument.value}", argument.value, argument.detail)
            for argument in fitting
        ]

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _look_up(self, command: SlashCommand) -> None:
        found = look_up(command, self._pair())
        self.app.call_from_thread(self._found, command, found)

    def _found(self, command: SlashCommand, found: Sequence[Argument]) -> None:
        begun = begun_argument(self._text)
        if begun is not None and begun[0] == command:
            self._looked_up[command.name] = found
            self._show([] if self._is_refused else self._completions())

    def _show(self, lines: list[Completion]) -> None:
        # What is written in full needs no list.
        if len(lines) == 1 and lines[0].text == self._text and not lines[0].detail:
            lines = []
        if lines != self._offered:
            self._offered = lines
            self.clear_options()
            width = max((len(line.title) for line in lines if len(line.title) <= _MOST_PADDED), default=0)
            self.add_options(Option(one_line_of(line, width)) for line in lines)
        is_begun = bool(lines) and lines[0].text.lower().startswith(self._text.lower())
        self.highlighted = 0 if is_begun else None
        self.display = bool(lines)


def one_line_of(line: Completion, width: int) -> str:
    """Title and meaning in columns."""
    return f"{one_line(line.title):<{width}}  {one_line(line.detail)}".rstrip()
