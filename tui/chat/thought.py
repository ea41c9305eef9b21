"""What a model thought before its answer: one line, which opens."""

from textual.widgets import Collapsible

from edgespec.decode.token import DraftSource
from edgespec.worker.protocol import Piece
from tui.common.stream_text import StreamText


class ThoughtFold(Collapsible):
    """A line with the size of the thought; Enter or a click shows the thought, as written. Hidden without one.

    Args:
        text: What is there already.
        count: Its tokens.
        seconds: What they took.
        is_growing: There is more to come.
    """

    def __init__(self, text: str, count: int, seconds: float, *, is_growing: bool) -> None:
        self._text = StreamText(_as_pieces(text), is_growing=is_growing)
        title = describe_thought(count, seconds, is_growing=is_growing)
        super().__init__(self._text, title=title, classes="thought")
        self.thought = text
        self.display = bool(text)

    def add(self, text: str, count: int, seconds: float) -> None:
        """More of it came."""
        self.thought += text
        self._text.append(_as_pieces(text))
        self.display = bool(self.thought)
        self.title = describe_thought(count, seconds, is_growing=True)

    def finish(self, count: int, seconds: float) -> None:
        """It is whole."""
        self.title = describe_thought(count, seconds, is_growing=False)


def describe_thought(count: int, seconds: float, *, is_growing: bool) -> str:
    """The line in words; a server may not tell how many tokens there are."""
    size = f" · {count} tokens" if count else ""
    return f"{'thinking' if is_growing else 'thought'}{size} · {seconds:.1f} s"


def _as_pieces(text: str) -> list[Piece]:
    return [Piece(text, DraftSource.TARGET)] if text else []
