"""Rendered answers: long code lines scroll or wrap, tables keep their alignment, tasks have boxes, drafted text its colour."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from markdown_it.token import Token
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.content import Content
from textual.widgets import Markdown
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownFence,
    MarkdownTable,
    MarkdownTableContent,
    MarkdownTH,
    MarkdownUnorderedListItem,
)

from tui.chat.markdown_text import make_parser, number_letters, take_task_marks
from tui.chat.tint import Tint

_OPEN, _DONE = "☐ ", "☑ "
_ALIGNMENTS: Final = ("left", "center", "right")


class CodeBlock(MarkdownFence):
    """Code with a bar under it where a line is longer than the screen; it wraps inside of `.-wrap-code`."""

    def __init__(self, markdown: "AnswerMarkdown", token: Token, code: str) -> None:
        super().__init__(markdown, token, code)
        self._tint = markdown.tint
        self._highlighted_code = self._painted()

    def notify_style_update(self) -> None:
        """Another theme: coloured anew."""
        super().notify_style_update()
        if self._tint is not None:
            self._highlighted_code = self._painted()
            self.set_content(self._highlighted_code)

    def _copy_context(self, block: MarkdownBlock) -> None:
        super()._copy_context(block)
        if isinstance(block, CodeBlock):
            self._tint = block._tint

    def _painted(self) -> Content:
        if self._tint is None:
            return self._highlighted_code
        return self._tint.paint(self._highlighted_code, self._token.meta["letters"])


class _TableContent(MarkdownTableContent):
    """Cells as the table's second line aligns them."""

    def __init__(self, headers: list[Content], rows: list[list[Content]], alignments: list[str]) -> None:
        super().__init__(headers, rows)
        self._alignments = alignments

    def on_mount(self) -> None:
        """Aligns the cells, those of the head too."""
        super().on_mount()
        self._align()

    async def _update_rows(self, updated_rows: list[list[Content]]) -> None:
        await super()._update_rows(updated_rows)
        self._align()

    def _align(self) -> None:
        for place, cell in enumerate(self.children):
            cell.styles.text_align = cast(Any, self._alignments[place % len(self._alignments)])


class _Table(MarkdownTable):
    def compose(self) -> ComposeResult:
        alignments = [_alignment_of(block) for block in _blocks(self) if isinstance(block, MarkdownTH)]
        self._headers, self._rows = self._get_headers_and_rows()
        yield _TableContent(self._headers, self._rows, alignments)


class _Item(MarkdownUnorderedListItem):
    def __init__(self, markdown: Markdown, token: Token, bullet: str) -> None:
        done = token.meta.get("done")
        super().__init__(markdown, token, bullet if done is None else _DONE if done else _OPEN)


class AnswerMarkdown(Markdown):
    """An answer of which rendered Markdown hides nothing (`shows_all`).

    Args:
        text: What is there already.
        tint: Who thought of it, where that is to be seen.
    """

    BLOCKS = Markdown.BLOCKS | {
        "fence": CodeBlock,
        "code_block": CodeBlock,
        "table_open": _Table,
        "list_item_unordered_open": _Item,
    }

    def __init__(self, text: str = "", tint: Tint | None = None) -> None:
        super().__init__(text, open_links=False, classes="answer-markdown", parser_factory=make_parser)
        self.tint = tint
        """Of what will be rendered next."""
        self._first_line = 0
        """Of what is rendered, in the answer."""

    def update(self, markdown: str) -> AwaitComplete:
        """Renders another text."""
        self._first_line = 0
        return super().update(markdown)

    async def render_anew(self, text: str, *, is_growing: bool) -> None:
        """Renders another text.

        Args:
            text: In the place of what is there.
            is_growing: More will be appended. Textual would go on at the last line of an `update`, be it the end of a fence.
        """
        await self.update("" if is_growing else text)
        if is_growing:
            await self.append(text)

    def append(self, markdown: str) -> AwaitComplete:
        """Renders more of the text; of what is there, the last block is rendered again."""
        self._first_line = self._last_parsed_line
        return super().append(markdown)

    def _parse_markdown(self, tokens: Iterable[Token]) -> Iterable[MarkdownBlock]:
        tokens = list(tokens)
        number_letters(tokens, self.tint.letters_before(self._first_line) if self.tint else 0)
        take_task_marks(tokens)
        for block in super()._parse_markdown(tokens):
            if self.tint is not None:
                for one in _blocks(block):
                    if one._inline_token is not None:
                        one.set_content(self.tint.paint(one._content, one._inline_token.meta["letters"]))
            yield block


def _blocks(block: MarkdownBlock) -> Iterator[MarkdownBlock]:
    """It and all that is in it, before it is shown."""
    yield block
    for inner in block._blocks:
        yield from _blocks(inner)


def _alignment_of(head: MarkdownBlock) -> str:
    style = str(head._token.attrs.get("style", ""))
    found = style.removeprefix("text-align:")
    return found if found in _ALIGNMENTS else "left"
