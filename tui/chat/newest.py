"""The line under the conversation that says that there is more below."""

from textual.events import Click
from textual.message import Message
from textual.widgets import Static

from tui.chat.keys import NEWEST_ID
from tui.chat.transcript import Transcript
from tui.common.shown_key import shown_key


class NewestMark(Static):
    """Shown while the newest text is not on the screen; a click leads there.

    Args:
        transcript: What is scrolled.
    """

    class Clicked(Message):
        """The newest text is wanted."""

    def __init__(self, transcript: Transcript) -> None:
        super().__init__("", id="newest", markup=False)
        self._transcript = transcript
        self._key = ""
        self._is_due = False
        self._said = ""
        self.display = False

    def on_mount(self) -> None:
        """Follows the scrolling."""
        self.watch(self._transcript, "scroll_y", self.look, init=False)
        self.watch(self._transcript, "virtual_size", self.look, init=False)

    def look(self) -> None:
        """Looks again once all has found its place: a text that grows is below the screen for a moment."""
        if not self._is_due:
            self._is_due = True
            self.call_after_refresh(self._show)

    def on_click(self, event: Click) -> None:
        """Leads to the newest text."""
        event.stop()
        self.post_message(self.Clicked())

    def _show(self) -> None:
        self._is_due = False
        transcript = self._transcript
        below = 0 if transcript.is_following else transcript.max_scroll_y - round(transcript.scroll_y)
        if below > 0 and not self._said:
            self._key = shown_key(self, NEWEST_ID) or "a click"
        said = self._describe(below) if below > 0 else ""
        if said != self._said:
            self._said = said
            self.update(said, layout=False)
            self.display = bool(said)

    def _describe(self, below: int) -> str:
        rows = "one more row" if below == 1 else f"{below} more rows"
        coming = " · the answer goes on below" if self._transcript.is_answering else ""
        return f"↓ {rows}{coming} · {self._key} shows the newest"
