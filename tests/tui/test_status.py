"""What went wrong is read in full at 80 columns, way out and all, and goes when something else is begun."""

from dataclasses import replace

import pytest

from edgespec.decode.policy import Mode
from edgespec.worker.protocol import Answered, RequestFailed
from tests.tui.chat_script import chat_of, roles, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.pictures import screen_lines, still_picture
from tests.tui.scripted import NOT_THERE, PAIR, finished_stats
from tui.chat.status_words import pair_words
from tui.common.status_line import StatusLine

WAY_OUT = "a path or owner/repo:Q4_K_M works too"


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_an_error_is_read_in_full(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    async with bench.run(size=size) as (app, pilot):
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await send(pilot, "/model nosuch")
        shown = " ".join(" ".join(screen_lines(await still_picture(pilot))).split())
        said = f"{NOT_THERE.message}; {NOT_THERE.hint}"
        assert said in shown if size == SMALL else WAY_OUT in status_of(app)
        await picture(pilot)


async def test_an_error_goes_with_another_conversation_and_with_the_next_message(bench: AppBench) -> None:
    async with bench.run(size=SMALL) as (app, pilot):
        status = app.screen.query_one(StatusLine)
        await send(pilot, "/model nosuch")
        assert status.is_error and status.size.height > 1
        await pilot.press("ctrl+n")
        await settle(pilot)
        assert not status.is_error
        await send(pilot, "/model nosuch")
        await send(pilot, "hello")
        assert roles(app) == ["user", "assistant"]
        assert not status.is_error and status.size.height == 1


async def test_what_is_loaded_is_said_in_full_where_one_row_is_too_short(bench: AppBench) -> None:
    async with bench.run(size=(40, 24)) as (app, _):
        status = app.screen.query_one(StatusLine)
        assert len(status_of(app)) > 40
        assert status.size.height > 1


async def test_beside_the_context_meter_an_end_is_read_in_full_and_figures_are_whole(bench: AppBench) -> None:
    async with bench.run(size=SMALL) as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].hold = True
        await send(pilot, "and again")
        assert chat_of(app).pane.meter.display
        [live] = [line for line in screen_lines(await still_picture(pilot)) if "answering" in line]
        assert "tok/s" in live and "…" not in live
        bench.workers[0].say(Answered(finished_stats("length"), 1))
        await settle(pilot)
        shown = " ".join(" ".join(screen_lines(await still_picture(pilot))).split())
        assert "/settings changes" in shown and "…" not in shown.split("longest length")[1]


async def test_a_race_that_fails_says_why_in_full(bench: AppBench) -> None:
    async with bench.run(size=SMALL) as (app, pilot):
        app.go("race")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        app.screen._racing = True  # type: ignore[attr-defined]
        bench.workers[0].say(RequestFailed(NOT_THERE.message, NOT_THERE.hint))
        await settle(pilot)
        status = app.screen.query_one(StatusLine)
        assert status.is_error and status.size.height == 3


@pytest.mark.parametrize(
    ("mode", "said"),
    [(Mode.AUTO, "target-1b, no draft model on disk · "), (Mode.OFF, "target-1b, no draft model · ")],
)
def test_that_no_draft_is_on_disk_is_said_only_where_one_was_looked_for(mode: Mode, said: str) -> None:
    pair = replace(PAIR, draft=None, mode=mode)
    assert pair_words(pair, tools_n=0, has_schema=False).startswith(said)
