"""One turn of a conversation: what the user wrote, or an answer with its receipt."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Markdown, Static

from edgespec.text import plain_text
from edgespec.worker.protocol import Piece
from tui.chat.conversation import Message, Receipt
from tui.chat.markdown_stream import MarkdownSplitter
from tui.common.stream_text import StreamText


class UserTurn(Static):
    """What the user wrote, as written."""

    def __init__(self, text: str) -> None:
        super().__init__(plain_text(text), markup=False, classes="turn user-turn")


class AnswerTurn(Vertical):
    """An answer. While it comes, finished Markdown blocks stand above a tail of plain text; at the end all is rendered.

    Args:
        message: A whole answer, or None for one that is to come.
        tinted: Show who thought of each token, in plain text.
    """

    def __init__(self, message: Message | None = None, *, tinted: bool = False) -> None:
        super().__init__(classes="turn answer-turn")
        self._message = message
        self._tinted = tinted
        self._splitter = MarkdownSplitter()
        self._pieces: list[Piece] = list(message.pieces) if message else []

    def compose(self) -> ComposeResult:
        """Body and receipt."""
        message = self._message
        content = plain_text(message.content) if message else ""
        yield Markdown(content, open_links=False, classes="answer-markdown")
        yield StreamText(self._pieces if message else (), tinted=self._tinted, is_growing=message is None)
        yield Static(_receipt_text(message), markup=False, classes="receipt")

    def on_mount(self) -> None:
        """Shows what is filled."""
        self._show_parts()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What has come so far, by source."""
        return tuple(self._pieces)

    @property
    def content(self) -> str:
        """What has come so far."""
        return "".join(piece.text for piece in self._pieces)

    @property
    def _tail(self) -> StreamText:
        return self.query_one(StreamText)

    @property
    def _markdown(self) -> Markdown:
        return self.query_one(Markdown)

    async def add(self, pieces: tuple[Piece, ...]) -> None:
        """More of it came."""
        self._pieces += pieces
        if self._tinted:
            self._tail.append(pieces)
            return
        text = plain_text("".join(piece.text for piece in pieces))
        finished, tail = self._splitter.add(text)
        if finished:
            self._tail.clear()
            self._markdown.display = True
            await self._markdown.append(finished)
            self._tail.append([Piece(tail, pieces[-1].source)] if tail else [])
        else:
            self._tail.append(pieces)

    async def finish(self, message: Message) -> None:
        """It is whole, or was stopped: rendered once more from the start."""
        self._message = message
        self._pieces = list(message.pieces)
        await self._render_whole()

    async def tint(self, on: bool) -> None:
        """Shows who thought of each token, or the rendered text again."""
        self._tinted = on
        await self._render_whole()

    async def _render_whole(self) -> None:
        message = self._message
        pieces = message.pieces if message else tuple(self._pieces)
        shown = pieces if self._tinted or message is None else ()
        tail = StreamText(shown, tinted=self._tinted, is_growing=message is None)
        await self._tail.remove()
        await self.mount(tail, after=self._markdown)
        if message is not None and not self._tinted:
            await self._markdown.update(plain_text(message.content))
        self.query_one(".receipt", Static).update(_receipt_text(message))
        self._show_parts()

    def _show_parts(self) -> None:
        message = self._message
        shows_markdown = message is not None and not self._tinted
        self._markdown.display = shows_markdown
        self._tail.display = not shows_markdown
        self.query_one(".receipt").display = message is not None


def _receipt_text(message: Message | None) -> str:
    if message is None:
        return ""
    lines = ["stopped; the part that came is kept"] if message.stopped else []
    receipt: Receipt | None = message.receipt
    if receipt is not None:
        lines += [receipt.text, receipt.why]
    return plain_text("\n".join(lines))
