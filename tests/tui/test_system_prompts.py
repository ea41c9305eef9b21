"""System prompts under names: kept, chosen, changed, deleted."""

import stat
from collections.abc import Callable

import pytest
from textual.widgets import OptionList, Static, TextArea

from edgespec.errors import ConfigError, EdgespecError, UsageError
from edgespec.paths import system_prompts_file
from edgespec.worker.protocol import Answer
from tests.tui.chat_files import posix_only
from tests.tui.chat_script import chat_of, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tui.app import EdgespecApp
from tui.chat.system_prompts import SystemPromptsScreen
from tui.common.ask import AskScreen
from tui.services.system_prompts import BUILT_IN, all_prompts, delete_prompt, prompt_named, save_prompt

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])


def names_of(app: EdgespecApp) -> list[str]:
    assert isinstance(app.screen, SystemPromptsScreen)
    return [str(option.prompt) for option in app.screen.query_one("#prompts", OptionList).options][2:]


def note_of(app: EdgespecApp) -> str:
    return str(app.screen.query_one("#prompts-note", Static).content)


# What is kept.


def test_what_is_saved_comes_back_and_what_stands_beside_it_stays() -> None:
    assert all_prompts() == dict(BUILT_IN)
    save_prompt("  My   own ", 'Be\nkind """ and \'plain\'.\\ \n')
    path = system_prompts_file()
    path.write_text(f"# mine\nlater = 1\n{path.read_text()}")
    save_prompt("Other", "x")
    assert all_prompts()["My own"] == 'Be\nkind """ and \'plain\'.\\'
    assert prompt_named("MY OWN") == all_prompts()["My own"]
    assert prompt_named("nothing") is None
    delete_prompt("Other")
    assert "Other" not in all_prompts()
    assert path.read_text().startswith("# mine\nlater = 1\n")


@posix_only
def test_only_its_owner_reads_the_file() -> None:
    save_prompt("a", "b")
    assert stat.S_IMODE(system_prompts_file().stat().st_mode) == 0o600


def test_one_that_is_built_in_can_be_written_over_and_comes_back() -> None:
    save_prompt("Brief", "Be brief.")
    assert all_prompts()["Brief"] == "Be brief."
    delete_prompt("Brief")
    assert all_prompts()["Brief"] == BUILT_IN["Brief"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: save_prompt(" ", "text"), "the name has 0 characters"),
        (lambda: save_prompt("n" * 61, "text"), "the name has 61 characters"),
        (lambda: save_prompt("name", " "), "the text has 0 characters"),
        (lambda: save_prompt("name", "x" * 100_001), "the text has 100,001 characters"),
        (lambda: delete_prompt("Brief"), "Brief is built in and stays"),
    ],
)
def test_what_makes_no_sense_is_refused(change: Callable[[], None], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        change()
    assert said in refused.value.message
    assert not system_prompts_file().exists()


@pytest.mark.parametrize("text", ["prompts = 3", "[prompts]\na = 1", "[prompts", "[prompts]\na.b = ''"])
def test_a_damaged_file_is_named_and_left_alone(text: str) -> None:
    path = system_prompts_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        all_prompts()
    assert caught.value.message.startswith(str(path))
    if text == "[prompts":
        with pytest.raises(EdgespecError, match="cannot be read"):
            save_prompt("a", "b")
    assert path.read_text() == text


# In the app.


async def test_one_is_chosen_by_its_name(bench: AppBench) -> None:
    save_prompt("Pirate", "Talk like a pirate.")
    async with bench.run() as (app, pilot):
        await pilot.press("f10")
        await settle(pilot)
        assert names_of(app) == ["Brief  (built in)", "Editor  (built in)", "Pirate", *names_of(app)[3:]]
        await pilot.press("down", "down", "down")
        assert str(app.screen.query_one("#prompt-preview", Static).content) == "Talk like a pirate."
        await pilot.press("enter")
        await settle(pilot)
        assert chat_of(app).transcript.conversation.system == "Talk like a pirate."
        # The one that the conversation has is marked, and none can be taken instead.
        await pilot.press("f10")
        await settle(pilot)
        assert app.screen.query_one("#prompts", OptionList).highlighted == 4
        await pilot.press("home", "down", "enter")
        await settle(pilot)
        await send(pilot, "hello")
        asked = bench.workers[0].requests[-1]
        assert isinstance(asked, Answer) and [one.role for one in asked.messages] == ["user"]


async def test_a_command_takes_a_name_or_a_text(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "/system brief")
        assert chat_of(app).transcript.conversation.system == BUILT_IN["Brief"]
        await send(pilot, "/system Be kind.")
        assert chat_of(app).transcript.conversation.system == "Be kind."


async def test_they_are_written_changed_and_deleted_in_the_list(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("f10")
        await settle(pilot)
        await pilot.press("ctrl+n")
        await settle(pilot)
        await pilot.press(*"Pirate", "enter")
        await settle(pilot)
        app.screen.query_one(TextArea).load_text("Arr.")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "Pirate" in names_of(app)
        assert all_prompts()["Pirate"] == "Arr."
        await pilot.press("ctrl+e")
        await settle(pilot)
        assert app.screen.query_one(TextArea).text == "Arr."
        app.screen.query_one(TextArea).load_text("")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "the text has 0 characters" in note_of(app)
        await pilot.press("ctrl+d")
        await settle(pilot)
        assert isinstance(app.screen, AskScreen)
        await pilot.press("y")
        await settle(pilot)
        assert "Pirate" not in names_of(app)
        await pilot.press("end", "ctrl+d")
        await settle(pilot)
        assert "Tutor is built in and stays" in note_of(app)


async def test_a_damaged_file_is_said_and_the_built_in_ones_are_there(bench: AppBench) -> None:
    path = system_prompts_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("prompts = 3")
    async with bench.run() as (app, pilot):
        await pilot.press("f10")
        await settle(pilot)
        assert len(names_of(app)) == len(BUILT_IN)
        assert str(path) in note_of(app)
        await pilot.press("escape")
        await settle(pilot)
        await send(pilot, "/system brief")
        assert str(path) in status_of(app)


@SIZES
async def test_the_system_prompts_look_as_they_did(
    size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    save_prompt("Pirate", "Talk like a pirate.\n\n" + "Yo ho ho, and a bottle of rum. " * 20)
    async with bench.run(size=size) as (app, pilot):
        app.screen.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await pilot.press("f10")
        await settle(pilot)
        await pilot.press("down", "down", "down")
        await picture(pilot)
