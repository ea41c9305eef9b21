"""The list of slash commands above the prompt: keys, mouse, and what it knows of arguments."""

import shutil
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from edgespec.decode.policy import Mode
from edgespec.paths import models_dir
from edgespec.worker.protocol import ChangeDraft, ChangeMode, OpenPair
from tests.tui.chat_script import chat_of, roles
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tui.app import EdgespecApp
from tui.chat.slash import SLASH_COMMANDS
from tui.chat.slash_menu import SlashMenu


def menu_of(app: EdgespecApp) -> SlashMenu:
    return chat_of(app).query_one(SlashMenu)


def lines_of(app: EdgespecApp) -> list[str]:
    menu = menu_of(app)
    return [str(option.prompt) for option in menu.options] if menu.display else []


async def type_in(pilot: Pilot[int], text: str) -> None:
    await pilot.press(*text)
    await settle(pilot)


async def test_a_slash_lists_all_commands_with_what_they_do_and_typing_narrows_them(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await type_in(pilot, "/")
        assert len(lines_of(app)) == len(SLASH_COMMANDS)
        assert SLASH_COMMANDS["race"].help in "\n".join(lines_of(app))
        await type_in(pilot, "re")
        assert [line.split()[0] for line in lines_of(app)] == ["/rename", "/regenerate", "/restart"]
        await pilot.press("backspace", "backspace", "backspace")
        await settle(pilot)
        assert lines_of(app) == []


async def test_arrows_mark_and_enter_does_what_is_marked(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await type_in(pilot, "/t")
        assert [line.split()[0] for line in lines_of(app)] == [
            "/tab",
            "/think",
            "/tools",
            "/thoughts",
            "/tint",
        ]
        await pilot.press(*["down"] * 4, "enter")
        await settle(pilot)
        assert chat_of(app).transcript.tinted
        assert chat_of(app).prompt.text == ""
        assert lines_of(app) == []
        await type_in(pilot, "/t")
        await pilot.press("up", "enter")
        await settle(pilot)
        assert not chat_of(app).transcript.tinted


async def test_tab_completes_and_the_arguments_follow(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await type_in(pilot, "/mo")
        await pilot.press("down", "tab")
        await settle(pilot)
        assert chat_of(app).prompt.text == "/mode "
        assert [line.split()[0] for line in lines_of(app)] == ["off", "model", "ngram", "auto"]
        await type_in(pilot, "n")
        await pilot.press("enter")
        await settle(pilot)
        assert bench.workers[0].requests[-1] == ChangeMode(Mode.NGRAM)


async def test_models_and_drafts_on_disk_are_offered(bench: AppBench, tiny_model: Path) -> None:
    path = models_dir() / "own" / "little.gguf"
    path.parent.mkdir(parents=True)
    shutil.copy(tiny_model, path)
    async with bench.run() as (app, pilot):
        await type_in(pilot, "/model ")
        await pilot.app.workers.wait_for_complete()
        await settle(pilot)
        [line] = lines_of(app)
        assert "little" in line
        await type_in(pilot, "ittl")
        assert lines_of(app) == [line]
        assert menu_of(app).chosen is None
        await pilot.press("down", "enter")
        await settle(pilot)
        opened = next(one for one in bench.workers[1].requests if isinstance(one, OpenPair))
        assert opened.target is not None
        assert "little" in opened.target
        await type_in(pilot, "/draft ")
        await pilot.app.workers.wait_for_complete()
        await settle(pilot)
        assert [line.split()[0] for line in lines_of(app)][:2] == ["none", "ngram"]
        await pilot.press("enter")
        await settle(pilot)
        assert bench.workers[1].requests[-1] == ChangeDraft("none")


async def test_an_argument_that_is_not_on_the_list_is_taken_as_written(bench: AppBench) -> None:
    async with bench.run() as (_, pilot):
        await type_in(pilot, "/draft another-draft")
        await pilot.app.workers.wait_for_complete()
        await pilot.press("enter")
        await settle(pilot)
        assert bench.workers[0].requests[-1] == ChangeDraft("another-draft")


async def test_escape_closes_it_until_the_next_command_and_tab_opens_it_again(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await type_in(pilot, "/ra")
        await pilot.press("escape")
        await settle(pilot)
        assert lines_of(app) == []
        await type_in(pilot, "c")
        assert lines_of(app) == []
        await pilot.press("tab")
        await settle(pilot)
        assert [line.split()[0] for line in lines_of(app)] == ["/race"]
        await pilot.press("escape", *["backspace"] * 4)
        await type_in(pilot, "/")
        assert len(lines_of(app)) == len(SLASH_COMMANDS)


async def test_a_click_takes_a_line(bench: AppBench) -> None:
    async with bench.run(size=SMALL) as (app, pilot):
        await type_in(pilot, "/t")
        await pilot.click(OptionList, offset=(4, 4))
        await settle(pilot)
        assert chat_of(app).transcript.tinted
        await type_in(pilot, "/mod")
        await pilot.click(OptionList, offset=(4, 1))
        await settle(pilot)
        assert chat_of(app).prompt.text == "/mode "
        assert chat_of(app).prompt.has_focus


async def test_what_is_no_command_opens_nothing(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        for text in ("//help", "/usr/bin", "a /t"):
            chat_of(app).prompt.put(text)
            await settle(pilot)
            assert lines_of(app) == []
        await pilot.press("up")
        assert roles(app) == []


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("text", ["/", "/mode "], ids=["commands", "arguments"])
async def test_the_menu_looks_as_it_did(
    text: str, size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    async with bench.run(size=size) as (app, pilot):
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await type_in(pilot, text)
        await pilot.press("down")
        await settle(pilot)
        await picture(pilot)
