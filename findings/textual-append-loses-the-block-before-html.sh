#!/usr/bin/env bash
# textual 8.2.8, src/textual/widgets/_markdown.py (Markdown.append, which MarkdownStream calls); Python >= 3.11.
# Guessed: Markdown.append, line by line, ends with what Markdown.update shows of the whole text.
# Seen: HTML between two blocks (a <br>, a comment, a <div>) takes away the block before it: the heading, the list, the code are
# gone from the screen, `source` still has them, and nothing is raised. The HTML counts as the last block and makes no widget,
# so the next block to come replaces the widget before. update() of the same text shows all. A parser_factory whose parser has
# html off shows all, with the HTML as text. A link whose [1]: line comes later stays as it was typed with both. Fails when this
# changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check textual==8.2.8 markdown-it-py==4.3.0
cd "$work"
"$work/env/bin/python" - <<'PY'
import asyncio

from markdown_it import MarkdownIt
from textual.app import App
from textual.widgets import Markdown

TEXTS = {
    "heading": "# Plan\n\n<br>\n\nend\n",
    "list": "- one\n- two\n\n<!-- note -->\n\nend\n",
    "code": "```\nx = 1\n```\n\n<div>\nbox\n</div>\n\nend\n",
    "link": "See [a][1].\n\nend\n\n[1]: page.md\n",
}


class Two(App):
    def compose(self):
        yield Markdown(id="html")
        yield Markdown(id="off", parser_factory=lambda: MarkdownIt("gfm-like", {"html": False}))


def blocks(markdown):
    """The kinds and texts of what is shown."""
    return [
        (type(block).__name__.removeprefix("Markdown"), str(block.content)) for block in markdown.children
    ]


async def compared():
    app, seen = Two(), {}
    async with app.run_test() as pilot:
        for name, text in TEXTS.items():
            for kind in ("html", "off"):
                markdown = app.query_one(f"#{kind}", Markdown)
                await markdown.update(text)
                await pilot.pause()
                whole = blocks(markdown)
                await markdown.update("")
                for line in text.splitlines(keepends=True):
                    await markdown.append(line)
                await pilot.pause()
                assert markdown.source == text
                seen[name, kind] = whole, blocks(markdown)
    return seen


seen = asyncio.run(compared())
for (name, kind), (whole, appended) in seen.items():
    print(f"{name}, html {'on' if kind == 'html' else 'off'}: update {whole}\n    append {appended}")
for name in ("heading", "list", "code"):
    whole, appended = seen[name, "html"]
    assert len(whole) == 2 and appended == whole[1:] == [("Paragraph", "end")], "changed"
    assert seen[name, "off"][0] == seen[name, "off"][1], "changed"
assert [shown[0][1] for shown in seen["link", "html"]] == ["See a.", "See [a][1]."], "changed"
PY
