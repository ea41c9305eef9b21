"""Scrolling back while text comes, the mark that there is more below, and the way back."""

import pytest
from textual.pilot import Pilot

from edgespec.decode.token import DraftSource
from edgespec.worker.protocol import Answered, Piece
from tests.tui.chat_script import chat_of, send
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import finished_stats, tokens
from tui.app import EdgespecApp
from tui.chat.newest import NewestMark


def mark_of(app: EdgespecApp) -> str:
    mark = chat_of(app).query_one(NewestMark)
    return str(mark.content) if mark.display else ""


def is_at_end(app: EdgespecApp) -> bool:
    transcript = chat_of(app).transcript
    return transcript.is_following and transcript.is_vertical_scroll_end


async def converse(pilot: Pilot[int], n_turns: int = 3) -> None:
    """Ends in the middle of an answer."""
    for number in range(n_turns):
        await send(pilot, f"question {number}")
        await pilot.press("escape")
        await settle(pilot)
    await send(pilot, "the last one")


def paragraphs(bench: AppBench, n: int = 30) -> None:
    for number in range(n):
        piece = Piece(f"Paragraph {number} of it.\n\n", DraftSource.TARGET)
        bench.workers[0].say(tokens((piece,), 30 + number))


async def test_text_that_comes_leaves_the_place_that_was_scrolled_to(bench: AppBench) -> None:
    async with bench.run(size=SMALL, hold=True) as (app, pilot):
        await converse(pilot)
        assert is_at_end(app)
        assert mark_of(app) == ""
        await pilot.press("pageup")
        await settle(pilot)
        transcript = chat_of(app).transcript
        place = transcript.scroll_y
        assert "the answer goes on below" in mark_of(app)
        before = transcript.max_scroll_y
        paragraphs(bench)
        await settle(pilot)
        await pilot.pause(0.5)
        assert transcript.max_scroll_y > before
        assert transcript.scroll_y == place
        bench.workers[0].say(Answered(finished_stats(), 1))
        await settle(pilot)
        assert transcript.scroll_y == place
        assert "more rows" in mark_of(app)
        assert "goes on" not in mark_of(app)


async def test_text_that_comes_is_followed_at_the_end_without_a_mark(bench: AppBench) -> None:
    async with bench.run(size=SMALL, hold=True) as (app, pilot):
        await converse(pilot)
        paragraphs(bench)
        await settle(pilot)
        await pilot.pause(0.5)
        assert is_at_end(app)
        assert mark_of(app) == ""


@pytest.mark.parametrize("keys", [["end"], ["ctrl+end"], ["x", "ctrl+end"]], ids=" ".join)
async def test_a_key_leads_to_the_newest_text(keys: list[str], bench: AppBench) -> None:
    async with bench.run(size=SMALL) as (app, pilot):
        await converse(pilot)
        await pilot.press("pageup", "pageup")
        await settle(pilot)
        assert not is_at_end(app)
        await pilot.press(*keys)
        await settle(pilot)
        assert is_at_end(app)
        assert mark_of(app) == ""


async def test_end_is_the_lines_own_while_something_is_written(bench: AppBench) -> None:
    async with bench.run(size=SMALL) as (app, pilot):
        await converse(pilot)
        await pilot.press("pageup", "a", "b", "home", "end")
        await settle(pilot)
        assert chat_of(app).prompt.cursor_location == (0, 2)
        assert not is_at_end(app)


async def test_a_click_on_the_mark_leads_there_too(bench: AppBench) -> None:
    async with bench.run(size=SMALL) as (app, pilot):
        await converse(pilot)
        await pilot.press("pageup")
        await settle(pilot)
        await pilot.click(NewestMark)
        await settle(pilot)
        assert is_at_end(app)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_mark_looks_as_it_did(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    async with bench.run(size=size, hold=True) as (app, pilot):
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await converse(pilot)
        await pilot.press("pageup")
        await settle(pilot)
        paragraphs(bench)
        await picture(pilot)
