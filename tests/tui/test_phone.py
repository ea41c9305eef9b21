"""The app on a phone's screen, some 40 columns wide and without keys such as F2 or Esc: all is seen, and reached by taps."""

from pathlib import Path

import pytest
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, OptionList, Select

from edgespec.worker.protocol import Answered
from tests.tui.chat_script import found, open_list, send, until
from tests.tui.conftest import AppBench, settle
from tests.tui.pictures import screen_lines, without_numbers
from tests.tui.scripted import ANSWER, finished_stats, tokens
from tui.app import EdgespecApp
from tui.common.top_bar import SCREENS
from tui.race.arms import Arms

PHONE = (40, 44)
DONE = (tokens(ANSWER, 41), Answered(finished_stats(), 1))
TITLE = "where did I put my keys?"


def lines_of(app: EdgespecApp) -> list[str]:
    return screen_lines(without_numbers(app.export_screenshot(simplify=True)))


def is_whole(widget: Widget) -> bool:
    """Whether all of it lies within what it stands in, sideways."""
    parent = widget.parent
    assert isinstance(parent, Widget)
    return parent.content_region.x <= widget.region.x and widget.region.right <= parent.content_region.right


@pytest.mark.parametrize("name", SCREENS)
async def test_every_screen_is_one_tap_away(name: str, bench: AppBench) -> None:
    async with bench.run(size=PHONE) as (app, pilot):
        top = str(app.screen.query_one("#top-bar").render())
        assert all(title in top for _, title in SCREENS.values())
        assert "F3" not in top
        await pilot.click("#top-bar", offset=(top.index(SCREENS[name][1]) + 1, 0))
        await until(pilot, lambda: name == getattr(app.screen, "NAME", ""))


@pytest.mark.parametrize(
    ("line", "is_closed"),
    [
        *((line, True) for line in ("/help", "/logs", "/system", "/draft", "/open")),
        *((line, False) for line in ("/settings", "/sampling", "/delete")),
    ],
)
async def test_a_tap_beside_it_closes_what_has_no_button_for_that(
    line: str, is_closed: bool, bench: AppBench
) -> None:
    async with bench.run(says=DONE, size=PHONE) as (app, pilot):
        await send(pilot, TITLE)
        await send(pilot, line)
        await until(pilot, lambda: isinstance(app.screen, ModalScreen))
        shown = app.screen
        await pilot.click(".dialog", offset=(3, 1))
        await settle(pilot)
        assert app.screen is shown
        await pilot.click(offset=(20, 0))
        await settle(pilot)
        assert (app.screen is not shown) is is_closed


@pytest.mark.parametrize("line", ["/settings", "/sampling", "/delete", "/rename"])
async def test_fields_and_buttons_of_a_question_are_whole(line: str, bench: AppBench) -> None:
    async with bench.run(says=DONE, size=PHONE) as (app, pilot):
        await send(pilot, TITLE)
        await send(pilot, line)
        fields = [*app.screen.query(Button), *app.screen.query(Input), *app.screen.query(Select)]
        assert [one for one in fields if not is_whole(one)] == []
        assert [one for one in app.screen.query(Input) if one.size.width < 20] == []


async def test_a_conversation_in_the_list_has_a_line_for_its_title(bench: AppBench) -> None:
    async with bench.run(says=DONE, size=PHONE) as (app, pilot):
        await send(pilot, TITLE)
        await open_list(pilot)
        listed = [line.strip("│ ") for line in lines_of(app)]
        place = listed.index(TITLE)
        assert listed[place + 1].startswith("today ")
        assert listed[place + 1].endswith("target-1b")
        await pilot.press(*"keys")
        await found(pilot)
        assert "my keys?" in lines_of(app)[place + 2]


async def test_the_slash_menu_says_what_commands_do(bench: AppBench) -> None:
    async with bench.run(size=PHONE) as (app, pilot):
        await pilot.press("/", "r", "e")
        await settle(pilot)
        lines = [str(one.prompt) for one in app.screen.query_one("#slash-menu", OptionList).options]
        assert lines[0] == "/rename      Give this conversation another title"


async def test_the_workshop_shows_form_and_plan_one_below_the_other(
    bench: AppBench, small_is_here: Path
) -> None:
    async with bench.run(size=PHONE) as (app, pilot):
        app.go("workshop")
        await settle(pilot)
        form, work = app.screen.query_one("#workshop-form"), app.screen.query_one("#workshop-work")
        assert (form.region.width, work.region.width) == (40, 40)
        assert form.region.bottom == work.region.y
        assert work.region.height > 15


async def test_the_arms_of_a_race_stand_one_below_the_other(bench: AppBench) -> None:
    async with bench.run(size=PHONE) as (app, pilot):
        app.go("race")
        await settle(pilot)
        app.screen.query_one(Arms).line_up(("plain", "draft-100m", "auto"))
        await settle(pilot)
        assert [one.region.width > 35 for one in app.screen.query(".arm")] == [True, True, True]
        assert all(one.region.height > 6 for one in app.screen.query(".arm"))
