"""One turn of a conversation: what the user wrote, or an answer with its receipt."""

import asyncio
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from edgespec.text import plain_text
from edgespec.worker.protocol import Piece, TokensArrived
from tui.chat.answer_markdown import AnswerMarkdown
from tui.chat.conversation import FIRST, Message, Place
from tui.chat.file_fold import FileFold
from tui.chat.markdown_stream import MarkdownSplitter
from tui.chat.markdown_text import shows_all
from tui.chat.receipt_line import ReceiptLine
from tui.chat.thought import ThoughtFold
from tui.chat.tint import Tint, last_pieces
from tui.chat.version_mark import VersionMark
from tui.common.stream_text import StreamText


class UserTurn(Vertical):
    """What the user wrote, as written, and the files with it in a line each.

    Args:
        message: All of it.
        place: In the conversation.
    """

    def __init__(self, message: Message, place: Place) -> None:
        super().__init__(classes="turn user-turn")
        self._text = Static(plain_text(message.written), markup=False)
        self._files = [FileFold(one, message.content[one.start : one.end]) for one in message.attachments]
        self.version = VersionMark(place)
        """Which of several it is."""

    def compose(self) -> ComposeResult:
        """Text, files, and which version it is."""
        yield from (self._text, *self._files, self.version)


class AnswerTurn(Vertical):
    """An answer. While it comes, finished Markdown blocks stand above a tail of plain text; at the end all is rendered.

    An answer of which rendered Markdown would hide something is shown in plain text.

    Args:
        message: A whole answer, or None for one that is to come.
        place: In the conversation.
        tinted: Show who thought of each token.
    """

    def __init__(self, message: Message | None = None, place: Place = FIRST, *, tinted: bool = False) -> None:
        super().__init__(classes="turn answer-turn")
        self.version = VersionMark(place)
        """Which of several it is."""
        self._message = message
        self._tinted = tinted
        self._splitter = MarkdownSplitter()
        self._is_ready = asyncio.Event()
        """Markdown renders its first, empty text when it is mounted, and that takes away what came before."""
        self._pieces: list[Piece] = list(message.pieces) if message else []
        self._is_markdown = message is None or shows_all(plain_text(message.content))
        # Kept, not looked for: who leaves the app takes them off the screen in the middle of a rendering.
        self._fold = ThoughtFold(
            message.thought if message else "",
            message.thought_n if message else 0,
            message.thought_s if message else 0.0,
            is_growing=message is None,
        )
        content = plain_text(message.content) if message and self._is_markdown else ""
        self._markdown = AnswerMarkdown(content, Tint(self._pieces) if tinted else None)
        self._tail = StreamText(self._pieces if message else (), tinted=tinted, is_growing=message is None)
        self._receipt = ReceiptLine(message)

    def compose(self) -> ComposeResult:
        """Thought, body, receipt, and which version it is."""
        yield from (self._fold, self._markdown, self._tail, self._receipt, self.version)

    def on_mount(self) -> None:
        """Shows what is filled."""
        self._show_parts()
        self._is_ready.set()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What has come so far, by source."""
        return tuple(self._pieces)

    @property
    def content(self) -> str:
        """What has come so far."""
        return "".join(piece.text for piece in self._pieces)

    @property
    def thought(self) -> str:
        """What the model thought so far."""
        return self._fold.thought

    async def add(self, arrived: Sequence[TokensArrived]) -> None:
        """More of it came."""
        await self._is_ready.wait()
        if thought := "".join(tokens.thought for tokens in arrived):
            self._fold.add(thought, arrived[-1].thought_n, arrived[-1].thought_s)
        pieces = [piece for tokens in arrived for piece in tokens.pieces]
        if pieces:
            await self._add_answer(pieces)

    async def _add_answer(self, pieces: Sequence[Piece]) -> None:
        self._pieces += pieces
        text = plain_text("".join(piece.text for piece in pieces))
        finished, tail = self._splitter.add(text)
        if finished:
            self._tail.clear()
            self._markdown.display = True
            self._markdown.tint = Tint(self._pieces) if self._tinted else None
            await self._markdown.append(finished)
            self._tail.append(last_pieces(self._pieces, len(tail)))
        else:
            self._tail.append(pieces)

    async def finish(self, message: Message) -> None:
        """It is whole, or was stopped: rendered once more from the start."""
        self._message = message
        self._pieces = list(message.pieces)
        self._is_markdown = shows_all(plain_text(message.content))
        self._fold.finish(message.thought_n, message.thought_s)
        await self._render_whole()

    async def tint(self, on: bool) -> None:
        """Shows who thought of each token, or the rendered text again."""
        self._tinted = on
        await self._render_whole()

    async def _render_whole(self) -> None:
        message = self._message
        pieces = message.pieces if message else tuple(self._pieces)
        text = plain_text(message.content if message else self.content)
        tail = "" if message and self._is_markdown else text if message else self._splitter.tail
        before, self._tail = (
            self._tail,
            StreamText(last_pieces(pieces, len(tail)), tinted=self._tinted, is_growing=message is None),
        )
        await before.remove()
        if self._markdown.is_attached:
            await self.mount(self._tail, after=self._markdown)
        if self._markdown.is_attached:
            self._markdown.tint = Tint(pieces) if self._tinted else None
            await self._markdown.render_anew(text[: len(text) - len(tail)], is_growing=message is None)
        if self._receipt.is_attached:
            self._receipt.show(message)
            self._show_parts()

    def _show_parts(self) -> None:
        is_whole = self._message is not None
        self._markdown.display = bool(self._markdown.source) or (is_whole and self._is_markdown)
        self._tail.display = not (is_whole and self._is_markdown)
