"""Where a conversation begins for the model, in the middle of what is on the screen."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Collapsible, Static

from edgespec.text import plain_text
from tui.chat.conversation import Seen


class CutMark(Vertical):
    """A line between the messages that the model no longer sees and those that it does; a summary opens below it."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(classes="cut-mark")
        self._seen = seen

    def compose(self) -> ComposeResult:
        """The line, and the summary."""
        summary = self._seen.summary
        if summary:
            text = Static(plain_text(summary), markup=False)
            yield Collapsible(text, title=describe_cut(self._seen), classes="thought")
        else:
            yield Static(f"── {describe_cut(self._seen)} ──", markup=False)


def describe_cut(seen: Seen) -> str:
    """The line in words."""
    n = seen.left_out_n
    what = "the message" if n == 1 else f"the {n} messages"
    if seen.summary:
        return f"of {what} above the model sees a summary"
    return f"{what} above the model sees no more"
