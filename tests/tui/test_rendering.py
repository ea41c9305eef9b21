"""Answers as they are shown: tables, tasks, and drafted text tinted inside of rendered Markdown."""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Markdown, Static
from textual.widgets._markdown import MarkdownBullet, MarkdownTableCellContents

from edgespec.decode.token import DraftSource
from edgespec.worker.protocol import Answered, AnyEvent, Piece, Stop
from tests.tui.chat_script import chat_of, send
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import finished_stats, tokens
from tui.app import EdgespecApp
from tui.chat.answer_markdown import CodeBlock
from tui.chat.tint import STYLES, Tint, last_pieces
from tui.services.settings import AppSettings

TEXT = """\
# A title

Some **bold** text with `code`:

- [ ] write it
- [x] read it
- an item

| left | middle | right |
|:-----|:------:|------:|
| a | b | 1 |
| longer | x | 12,345 |

```python
def function(argument):
    return argument
```

The *end*.
"""
SOURCES = tuple(DraftSource)


def cut(text: str, seed: int = 3) -> list[Piece]:
    """Into pieces of all sources."""
    random, pieces = Random(seed), []
    while text:
        length = random.randint(1, 9)
        pieces.append(Piece(text[:length], random.choice(SOURCES)))
        text = text[length:]
    return pieces


def script(text: str) -> list[AnyEvent]:
    said: list[AnyEvent] = [tokens((piece,), 30 + place) for place, piece in enumerate(cut(text))]
    return [*said, Answered(finished_stats(), 1)]


def contents(widget: Widget) -> Iterator[Content]:
    """Whatever text is shown, from top to bottom."""
    for one in widget.walk_children(Static):
        if isinstance(one.content, Content):
            yield one.content


def letters_by_source(app: EdgespecApp) -> list[tuple[str, str]]:
    """Letters and digits that are shown, each with its colours."""
    found = []
    for content in contents(chat_of(app).query_one(Markdown)):
        styles = [""] * len(content.plain)
        for start, end, style in content.spans:
            if style in STYLES.values():
                styles[start:end] = [str(style)] * (end - start)
        found += [pair for pair in zip(content.plain, styles, strict=True) if pair[0].isalnum()]
    return found


def written_letters(pieces: list[Piece]) -> list[tuple[str, str]]:
    return [(char, STYLES.get(piece.source, "")) for piece in pieces for char in piece.text if char.isalnum()]


async def test_a_table_keeps_its_alignment(bench: AppBench) -> None:
    async with bench.run(says=script(TEXT)) as (app, pilot):
        await send(pilot, "hello")
        cells = list(app.screen.query(MarkdownTableCellContents))
        assert [str(cell.content) for cell in cells[:4]] == ["left", "middle", "right", "a"]
        assert [cell.styles.text_align for cell in cells] == ["left", "center", "right"] * 3


async def test_tasks_have_boxes(bench: AppBench) -> None:
    async with bench.run(says=script(TEXT)) as (app, pilot):
        await send(pilot, "hello")
        assert [bullet.symbol for bullet in app.screen.query(MarkdownBullet)] == ["☐ ", "☑ ", "• "]
        shown = [content.plain for content in contents(chat_of(app).query_one(Markdown))]
        assert "write it" in shown
        assert "read it" in shown


@pytest.mark.parametrize("seed", range(4))
async def test_the_tint_colours_each_letter_of_the_rendered_text_by_its_source(
    seed: int, bench: AppBench
) -> None:
    pieces = cut(TEXT, seed)
    said = [*(tokens((piece,), 30) for piece in pieces), Answered(finished_stats(), 1)]
    async with bench.run(says=said) as (app, pilot):
        await send(pilot, "hello")
        assert {colours for _, colours in letters_by_source(app)} == {""}
        await pilot.press("ctrl+t")
        await settle(pilot)
        assert chat_of(app).query_one(Markdown).display
        # The mark of a task that is done, the numbers of a list and a fence's language are not among the texts.
        expected = written_letters(pieces)
        assert len(expected) - len(letters_by_source(app)) == len("x" + "python")
        shown = iter(expected)
        assert all(letter in shown for letter in letters_by_source(app))
        await pilot.press("ctrl+t")
        await settle(pilot)
        assert {colours for _, colours in letters_by_source(app)} == {""}


async def test_the_tint_is_there_while_an_answer_comes_and_can_be_switched_meanwhile(bench: AppBench) -> None:
    pieces = cut(TEXT)
    async with bench.run(settings=AppSettings(tint_drafted=True), hold=True) as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].say(tokens((Piece("\n\n", DraftSource.TARGET),), 21))
        for piece in pieces:
            bench.workers[0].say(tokens((piece,), 30))
        await settle(pilot)
        await pilot.pause(0.5)
        coloured = [pair for pair in letters_by_source(app) if pair[1]]
        assert "".join(char for char, _ in coloured)
        for _ in range(2):
            before = letters_by_source(app)
            await pilot.press("ctrl+t")
            await settle(pilot)
            assert [char for char, _ in before] == [char for char, _ in letters_by_source(app)]
            assert any(colours for _, colours in before) is not any(c for _, c in letters_by_source(app))
        bench.workers[0].send(Stop())
        await settle(pilot)
        assert [pair for pair in letters_by_source(app) if pair[1]]


async def test_coloured_code_stays_coloured_in_another_theme(bench: AppBench) -> None:
    async with bench.run(settings=AppSettings(tint_drafted=True), says=script(TEXT)) as (app, pilot):
        await send(pilot, "hello")
        before = letters_by_source(app)
        app.theme = "nord"
        await settle(pilot)
        assert letters_by_source(app) == before
        assert app.screen.query_one(CodeBlock).code.startswith("def function")


@given(st.lists(st.tuples(st.text(max_size=6), st.sampled_from(SOURCES)), max_size=12), st.integers(0, 80))
def test_the_last_pieces_are_the_end_of_the_text(parts: list[tuple[str, DraftSource]], length: int) -> None:
    pieces = [Piece(text, source) for text, source in parts]
    tint = Tint(pieces)
    text = tint._text
    last = last_pieces(pieces, length)
    assert "".join(piece.text for piece in last) == (text[-length:] if length else "")
    painted = tint.paint(Content(text), 0)
    assert painted.plain == text


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("tinted", [False, True], ids=["plain", "tinted"])
async def test_rendered_answers_look_as_they_did(
    tinted: bool, size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    settings = AppSettings(tint_drafted=tinted)
    async with bench.run(settings=settings, size=size, says=script(TEXT)) as (app, pilot):
        await send(pilot, "Show me all of it")
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await settle(pilot)
        await picture(pilot)
