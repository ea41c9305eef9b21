"""Questions above a screen, each dismissed with its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from edgespec.text import plain_text
from tui.common.dialog import Dialog


class AskScreen(Dialog[bool]):
    """A question with two answers."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", "No", id="ask.no", tooltip="Change nothing"),
        Binding("y", "answer(True)", "Yes", id="ask.yes", tooltip="Do it"),
    ]

    def __init__(self, question: str, yes: str = "Yes", no: str = "No") -> None:
        super().__init__()
        self._question, self._yes, self._no = question, yes, no

    def compose(self) -> ComposeResult:
        """Question and buttons."""
        with Vertical(classes="dialog"):
            yield Static(plain_text(self._question), markup=False, classes="dialog-text")
            with Horizontal(classes="dialog-buttons"):
                yield Button(self._no, id="no")
                yield Button(self._yes, id="yes", variant="primary")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """By key."""
        self.dismiss(answer)


class LeaveScreen(AskScreen):
    """Whether to leave the app. Ctrl+C, which led here, is an answer, too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "answer(True)", "Leave", id="leave.yes", tooltip="Leave; nothing is lost")
    ]

    def __init__(self) -> None:
        super().__init__("Leave edgespec? What was said is kept. Ctrl+C again leaves.", "Leave", "Stay")


@dataclass(frozen=True, slots=True)
class Choice:
    """Something to choose: what comes back, and what is shown."""

    value: str
    title: str
    detail: str = ""
    disabled: bool = False


class ChooseScreen(Dialog[str | None]):
    """A list to choose from, narrowed by what is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="choose.cancel", tooltip="Choose nothing"),
        Binding("down", "into_list", "List", id="choose.list", tooltip="Go into the list", show=False),
    ]

    def __init__(
        self, title: str, choices: Sequence[Choice], empty: str = "There is nothing to choose."
    ) -> None:
        super().__init__()
        self._title, self._choices, self._empty = title, choices, empty

    def compose(self) -> ComposeResult:
        """Title, filter and list."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static(plain_text(self._title), markup=False, classes="dialog-title")
            yield Input(placeholder="type to narrow the list", compact=True)
            yield OptionList(id="choices", markup=False)
            yield Static("", markup=False, classes="dialog-text", id="choice-detail")

    def on_mount(self) -> None:
        """Shows everything first."""
        self._fill("")

    @on(Input.Changed)
    def _narrowed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    @on(Input.Submitted)
    def _accepted(self) -> None:
        options = self.query_one(OptionList)
        for place in range(options.option_count):
            option = options.get_option_at_index(place)
            if not option.disabled:
                self.dismiss(option.id)
                return

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        found = next((choice for choice in self._choices if choice.value == event.option.id), None)
        self.query_one("#choice-detail", Static).update(plain_text(found.detail if found else ""))

    def action_cancel(self) -> None:
        """By key."""
        self.dismiss(None)

    def action_into_list(self) -> None:
        """From the filter into the list."""
        options = self.query_one(OptionList)
        options.focus()
        if options.highlighted is None:
            options.action_first()

    def _fill(self, text: str) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        words = text.lower().split()
        fitting = [
            choice
            for choice in self._choices
            if all(word in f"{choice.title} {choice.detail}".lower() for word in words)
        ]
        options.add_options(
            Option(plain_text(choice.title), id=choice.value, disabled=choice.disabled) for choice in fitting
        )
        detail = "" if fitting else (self._empty if not self._choices else "Nothing matches.")
        self.query_one("#choice-detail", Static).update(detail or plain_text(fitting[0].detail))


class TextScreen(Dialog[str | None]):
    """A text to write or change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="text.cancel", tooltip="Keep what was there"),
        Binding("ctrl+s", "save", "Save", id="text.save", tooltip="Take what is written", priority=True),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """Title, text and buttons."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static(plain_text(self._title), markup=False, classes="dialog-title")
            yield TextArea(self._text, compact=True)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Cancel", id="cancel")
                yield Button("Save", id="save", variant="primary")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(self.query_one(TextArea).text if event.button.id == "save" else None)

    def action_cancel(self) -> None:
        """By key."""
        self.dismiss(None)

    def action_save(self) -> None:
        """By key."""
        self.dismiss(self.query_one(TextArea).text)
