"""Which Markdown of a model's is rendered: only what shows every letter and digit that it wrote."""

from collections.abc import Iterable, Iterator
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

# Each of these hides what is written: HTML, addresses, definitions, `&lt;`, the backslashes of formulas.
_HIDING: Final = ("html_block", "html_inline", "link", "image", "reference", "autolink", "entity", "escape")


def make_parser() -> MarkdownIt:
    """GitHub's Markdown without the rules that hide what is written."""
    parser = MarkdownIt("gfm-like", {"html": False, "linkify": False})
    return parser.disable(_HIDING, ignoreInvalid=True)


def shows_all(markdown: str) -> bool:
    """Whether every letter and digit of a text is shown when it is rendered.

    Not all are: a table drops the cells that its head has no column for, a code fence what follows its language.
    """
    shown = (part for token in make_parser().parse(markdown) for part in _shown(token))
    return _letters(shown) == _letters([markdown])


def _shown(token: Token) -> Iterator[str]:
    """The text of a token that is shown, or that colours what is shown."""
    if token.type == "fence":
        # The language is not shown; a fence without anything in it shows nothing at all.
        if token.content.strip() and " " not in token.info.strip():
            yield token.info
        yield token.content
    elif token.type == "list_item_open":
        yield token.info
    elif token.children is not None:
        yield from (child.content for child in token.children)
    else:
        yield token.content


def _letters(parts: Iterable[str]) -> str:
    return "".join(char for part in parts for char in part if char.isalnum())
