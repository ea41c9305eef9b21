"""Which Markdown of a model's is rendered: only what shows every letter and digit that it wrote."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

# Each of these hides what is written: HTML, addresses, definitions, `&lt;`, the backslashes of formulas.
_HIDING: Final = ("html_block", "html_inline", "link", "image", "reference", "autolink", "entity", "escape")

_TASK: Final = re.compile(r"\[([ xX])\]\s+")


def make_parser() -> MarkdownIt:
    """GitHub's Markdown without the rules that hide what is written."""
    parser = MarkdownIt("gfm-like", {"html": False, "linkify": False})
    return parser.disable(_HIDING, ignoreInvalid=True)


def shows_all(markdown: str) -> bool:
    """Whether every letter and digit of a text is shown when it is rendered, and JSON keeps its lines.

    Not all are: a table drops the cells that its head has no column for, a code fence what follows its language.
    """
    if markdown.lstrip()[:1] in ("{", "[") and _is_json(markdown):
        return False
    shown = (part for token in make_parser().parse(markdown) for part in _shown(token))
    return _letters(shown) == _letters([markdown])


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def number_letters(tokens: Iterable[Token], first: int = 0) -> None:
    """Notes of each token with a text how many letters and digits stand before it, as `meta["letters"]`.

    Those are all shown (`shows_all`), and in the order that they were written in: so they lead from what is shown to the source.

    Args:
        tokens: Of a document, or of a part of it.
        first: Letters and digits before that part.
    """
    for token in tokens:
        counts = [len(_letters([part])) for part in _shown(token)]
        # The last part of a fence is its text; what is before it only colours that.
        token.meta["letters"] = first + (sum(counts[:-1]) if token.type == "fence" else 0)
        first += sum(counts)


def take_task_marks(tokens: Sequence[Token]) -> None:
    """Notes of each item of a task list whether it is done, as `meta["done"]`, and takes its mark out of its text.

    The tokens are numbered; in lists with numbers the marks stay.
    """
    for item, _, inline in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if item.type != "list_item_open" or item.info or inline.type != "inline" or not inline.children:
            continue
        text = inline.children[0]
        found = _TASK.match(text.content) if text.type == "text" else None
        if found:
            item.meta["done"] = found[1] != " "
            inline.meta["letters"] += item.meta["done"]
            text.content = text.content[found.end() :]


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
