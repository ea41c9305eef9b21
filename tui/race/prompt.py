"""The line above the arms, in which the prompt of a race is written."""

from textual import events
from textual.widgets import Input
from textual.widgets.input import Selection

_PROMPT = "Write a Python function that checks whether a string is a palindrome, then explain it."


class RacePrompt(Input):
    """All of it is selected with the cursor before it: what is typed takes its place, and its first words are in sight."""

    def __init__(self) -> None:
        super().__init__(
            _PROMPT,
            id="race-prompt",
            placeholder="The prompt that all arms answer",
            compact=True,
            select_on_focus=False,
        )

    def on_focus(self, event: events.Focus) -> None:
        """Selects all of it; not where the terminal's window comes back."""
        if not event.from_app_focus:
            self._select_from_end()

    def take(self, value: str) -> None:
        """Another prompt in the place of what stands there."""
        self.value = value
        self._select_from_end()

    def _select_from_end(self) -> None:
        self.selection = Selection(len(self.value), 0)
