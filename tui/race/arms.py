"""The arms of a race side by side: what each writes, and how fast."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static

from edgespec.text import one_line
from edgespec.worker.protocol import TokensArrived
from tui.common.stream_text import StreamText
from tui.common.wording import rate_of


class ArmPane(Vertical):
    """What one arm writes, and how fast."""

    def __init__(self, name: str) -> None:
        super().__init__(classes="arm")
        self.arm = name

    def compose(self) -> ComposeResult:
        """Name, text, figures."""
        yield Static(one_line(self.arm), classes="arm-title", markup=False)
        with VerticalScroll(can_focus=False):
            yield StreamText(tinted=True, is_growing=True)
        yield Static("waits", classes="arm-figures", markup=False)

    def on_mount(self) -> None:
        """Follows the text."""
        self.query_one(VerticalScroll).anchor()

    def add(self, tokens: TokensArrived) -> None:
        """More text."""
        self.query_one(StreamText).append(tokens.pieces)
        self.show_figures(f"{tokens.predicted_n} tokens · {rate_of(tokens):.1f} tok/s")

    def show_figures(self, text: str) -> None:
        """The line below the text."""
        self.query_one(".arm-figures", Static).update(one_line(text), layout=False)

    def empty(self) -> None:
        """For the next round."""
        self.query_one(StreamText).clear()
        self.show_figures("waits")


class Arms(Horizontal):
    """One pane for each arm; their texts grow together."""

    def __init__(self) -> None:
        super().__init__(id="arms")

    def line_up(self, names: Sequence[str]) -> bool:
        """Empty panes for these arms; returns whether they are those of the race before."""
        panes = self.query(ArmPane)
        if [pane.arm for pane in panes] == list(names):
            for pane in panes:
                pane.empty()
            return True
        self.remove_children()
        if self.is_attached:  # else the app is being left
            self.mount(*(ArmPane(name) for name in names))
        return False

    def pane(self, name: str) -> ArmPane:
        """That of an arm."""
        return next(pane for pane in self.query(ArmPane) if pane.arm == name)
