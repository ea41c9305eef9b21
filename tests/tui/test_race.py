"""The race on a scripted engine."""

import pytest
from textual.widgets import Input, Static

from edgespec.decode.policy import Mode
from edgespec.worker.protocol import PairOpened, RequestFailed, RunRace, WorkerDied
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.pictures import screen_lines, still_picture
from tui.app import EdgespecApp
from tui.chat.receipt_line import ReceiptLine
from tui.common.stream_text import StreamText
from tui.race.arms import ArmPane
from tui.race.screen import RaceScreen
from tui.services.launch import Launch


def race_of(app: EdgespecApp) -> RaceScreen:
    screen = app.screen
    assert isinstance(screen, RaceScreen)
    return screen


def verdict_of(app: EdgespecApp) -> str:
    return str(race_of(app).query_one("#race-verdict", Static).content)


async def test_three_arms_race_and_the_verdict_says_who_won(bench: AppBench) -> None:
    async with bench.run(Launch(screen="race")) as (app, pilot):
        await pilot.press("enter")
        await settle(pilot)
        asked = bench.workers[0].requests[-1]
        assert isinstance(asked, RunRace)
        assert asked.modes == (Mode.OFF, Mode.MODEL, Mode.AUTO)
        panes = list(app.screen.query(ArmPane))
        assert [pane.arm for pane in panes] == ["plain", "draft-100m", "auto"]
        assert all(pane.query_one(StreamText).text for pane in panes)
        assert "auto is 1.60x" in verdict_of(app)
        assert "single answer" in verdict_of(app)


async def test_the_prompt_begins_in_sight_and_what_is_typed_takes_its_place(bench: AppBench) -> None:
    app = bench.make(Launch(screen="race"))
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        shown = screen_lines(await still_picture(pilot))
        assert any("Write a Python function" in line for line in shown)
        await pilot.press(*"hello")
        assert race_of(app).query_one(Input).value == "hello"


async def test_another_round_brings_a_spread(bench: AppBench) -> None:
    async with bench.run(Launch(screen="race")) as (app, pilot):
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("ctrl+r")
        await settle(pilot)
        asked = bench.workers[0].requests[-1]
        assert isinstance(asked, RunRace)
        assert asked.earlier is not None
        assert "single answer" not in verdict_of(app)
        assert "faster than plain decoding" in verdict_of(app)
        await pilot.press("ctrl+l")
        await settle(pilot)
        assert not app.screen.query(ArmPane)


async def test_without_a_draft_model_the_text_itself_races(bench: AppBench) -> None:
    plain = PairOpened("lonely", None, Mode.AUTO, 4096, 10.0, 1)
    async with bench.run(Launch(screen="race"), pair=plain) as (_, pilot):
        await pilot.press("enter")
        await settle(pilot)
        asked = bench.workers[0].requests[-1]
        assert isinstance(asked, RunRace)
        assert asked.modes == (Mode.OFF, Mode.NGRAM, Mode.AUTO)


async def test_the_chat_sends_its_last_message_to_the_race(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press(*"who wins", "enter")
        await settle(pilot)
        await pilot.press(*"/race", "enter")
        await settle(pilot)
        assert race_of(app).query_one(Input).value == "who wins"
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("f2")
        await settle(pilot)
        await pilot.press("ctrl+r")
        await settle(pilot)
        receipt = app.screen.query(ReceiptLine).last()
        assert "1.60x plain in the last race (measured)" in receipt.details


async def test_a_race_that_fails_says_why_and_can_be_run_again(bench: AppBench) -> None:
    async with bench.run(Launch(screen="race")) as (app, pilot):
        race = race_of(app)
        race._racing = True
        bench.workers[0].say(RequestFailed("the prompt is too long", "take a shorter one"))
        await settle(pilot)
        assert "too long; take a shorter one" in verdict_of(app)
        await pilot.press("enter")
        await settle(pilot)
        assert "auto is" in verdict_of(app)


async def test_an_engine_that_dies_in_a_race_is_named(bench: AppBench) -> None:
    async with bench.run(Launch(screen="race")) as (app, pilot):
        race_of(app)._racing = True
        bench.workers[0].say(WorkerDied("was killed (SIGKILL)"))
        await settle(pilot)
        assert "was killed" in verdict_of(app)
        await pilot.press("enter")
        await settle(pilot)
        assert "no model is loaded" in verdict_of(app)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_race_looks_as_it_did(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    async with bench.run(Launch(screen="race"), size=size) as (_, pilot):
        await pilot.press("enter")
        await settle(pilot)
        await picture(pilot)
