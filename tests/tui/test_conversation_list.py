"""The list of saved conversations: what is found, and what becomes of one by key, by mouse and by command."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from textual.widgets import Input, OptionList, Static

from edgespec.paths import chats_dir
from tests.tui.chat_files import conversation, edit_file, questions_of
from tests.tui.chat_script import chat_of, found, open_list, roles, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tui.app import EdgespecApp
from tui.chat.conversation import Conversation
from tui.chat.conversation_list import ConversationsScreen
from tui.chat.listing import MOST_LISTED
from tui.chat.store import ChatStore
from tui.common.ask import AskScreen
from tui.common.ask_line import LineScreen
from tui.common.local_time import local_time

NOW = datetime(2026, 3, 14, 20, 0, tzinfo=UTC)


@pytest.fixture
def store() -> ChatStore:
    """That of the app."""
    return ChatStore(chats_dir())


def saved_at(store: ChatStore, stamp: str, *questions: str, target: str = "target-1b") -> Conversation:
    chat = replace(conversation(*questions), created_at=stamp, updated_at=stamp, target=target)
    return store.save(chat)


@pytest.fixture
def fruit(store: ChatStore) -> list[Conversation]:
    """Three, the newest last."""
    return [
        saved_at(store, "2026-01-05T09:00:00+00:00", "about apples", target="gemma3-270m"),
        saved_at(store, "2026-02-05T09:00:00+00:00", "about pears"),
        saved_at(store, "2026-03-05T09:00:00+00:00", "about plums", "and which of them are blue"),
    ]


def list_of(app: EdgespecApp) -> ConversationsScreen:
    assert isinstance(app.screen, ConversationsScreen)
    return app.screen


def lines_of(app: EdgespecApp) -> list[str]:
    options = app.screen.query_one(OptionList)
    return [str(option.prompt) for option in options.options]


def titles_of(app: EdgespecApp) -> list[str]:
    return [line.split("  ")[0] for line in lines_of(app)]


def note_of(app: EdgespecApp) -> str:
    return str(app.screen.query_one("#conversations-note", Static).content)


async def test_words_in_the_middle_of_a_text_are_found_as_they_are_typed(
    bench: AppBench, fruit: list[Conversation]
) -> None:
    async with bench.run() as (app, pilot):
        await open_list(pilot)
        assert titles_of(app) == ["about plums", "about pears", "about apples"]
        await pilot.press(*"blu")
        await found(pilot)
        [line] = lines_of(app)
        head, excerpt = line.split("\n")
        assert head.startswith("about plums") and "target-1b" in head
        assert "which of them are blue" in excerpt
        assert note_of(app) == "one conversation found"
        await pilot.press("enter")
        await settle(pilot)
        assert chat_of(app).transcript.conversation == fruit[2]


async def test_enter_at_once_opens_what_was_typed_and_not_what_was_shown_before(
    bench: AppBench, fruit: list[Conversation]
) -> None:
    async with bench.run() as (app, pilot):
        await open_list(pilot)
        app.screen.query_one(Input).value = "apples"
        await pilot.press("enter")
        await found(pilot)
        assert chat_of(app).transcript.conversation == fruit[0]


async def test_up_and_down_choose_while_what_is_typed_stays(
    bench: AppBench, fruit: list[Conversation]
) -> None:
    async with bench.run() as (app, pilot):
        await open_list(pilot, "about")
        await pilot.press("down", "down", "up", "enter")
        await settle(pilot)
        assert chat_of(app).transcript.conversation == fruit[1]


async def test_a_click_opens(bench: AppBench, fruit: list[Conversation]) -> None:
    async with bench.run(size=SMALL) as (app, pilot):
        await open_list(pilot)
        await pilot.click("#conversations", offset=(4, 2))
        await settle(pilot)
        assert chat_of(app).transcript.conversation == fruit[0]


async def test_a_pinned_one_comes_first_until_it_is_not(
    bench: AppBench, fruit: list[Conversation], store: ChatStore
) -> None:
    async with bench.run() as (app, pilot):
        await open_list(pilot)
        await pilot.press("down", "down", "ctrl+t")
        await found(pilot)
        assert titles_of(app) == ["★ about apples", "about plums", "about pears"]
        # The same one is still the chosen one.
        await pilot.press("ctrl+t")
        await found(pilot)
        assert titles_of(app) == ["about plums", "about pears", "about apples"]
    assert [one.pinned for one in store.summaries()] == [False] * 3


async def test_another_title_is_written_in_a_line(bench: AppBench, fruit: list[Conversation]) -> None:
    async with bench.run() as (app, pilot):
        await open_list(pilot, "pears")
        await pilot.press("ctrl+r")
        await settle(pilot)
        assert isinstance(app.screen, LineScreen)
        await pilot.press("home", "shift+end", *"Orchard", "enter")
        await found(pilot)
        assert titles_of(app) == ["Orchard"]
        await pilot.press("ctrl+r")
        await settle(pilot)
        await pilot.press("escape")
        await found(pilot)
        assert titles_of(app) == ["Orchard"]


async def test_delete_asks_and_deletes_what_is_chosen_and_no_other(
    bench: AppBench, fruit: list[Conversation], store: ChatStore
) -> None:
    async with bench.run() as (app, pilot):
        await open_list(pilot, "pears")
        await pilot.press("ctrl+d")
        await settle(pilot)
        assert isinstance(app.screen, AskScreen)
        await pilot.press("n")
        await found(pilot)
        assert len(store.summaries()) == 3
        await pilot.press("ctrl+d", "y")
        await found(pilot)
        assert note_of(app) == "nothing has these words"
        await pilot.press("ctrl+d", "ctrl+r", "ctrl+t", "enter")
        await settle(pilot)
        list_of(app)
    assert {one.title for one in store.summaries()} == {"about apples", "about plums"}


async def test_the_shown_conversation_goes_when_it_is_deleted_from_the_list(
    bench: AppBench, fruit: list[Conversation]
) -> None:
    async with bench.run() as (app, pilot):
        await open_list(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert roles(app) == ["user", "assistant"] * 2
        await open_list(pilot)
        await pilot.press("ctrl+d", "y", "escape")
        await settle(pilot)
        assert roles(app) == []
        await send(pilot, "hello")
        assert roles(app) == ["user", "assistant"]


async def test_an_empty_list_says_so_and_a_long_one_how_much_of_it_is_shown(
    bench: AppBench, store: ChatStore
) -> None:
    async with bench.run() as (app, pilot):
        await open_list(pilot)
        assert "No conversation is saved yet" in note_of(app)
        await pilot.press("escape")
        for number in range(MOST_LISTED + 1):
            store.save(conversation(f"q{number}"))
        await open_list(pilot)
        assert len(lines_of(app)) == MOST_LISTED
        assert (
            note_of(app)
            == f"the newest {MOST_LISTED} of {MOST_LISTED + 1} conversations: type to search all of them"
        )
        await pilot.press(*"q0")
        await found(pilot)
        assert titles_of(app) == ["q0"]


async def test_a_title_can_neither_drive_the_terminal_nor_mark_up(bench: AppBench, store: ChatStore) -> None:
    store.save(conversation("\x1b[2J[bold]not bold[/bold] \u202e find me"))
    async with bench.run() as (app, pilot):
        await open_list(pilot, "find")
        shown = app.export_screenshot().replace("&#160;", " ")
        assert "\x1b" not in shown and "\u202e" not in shown
        assert "[bold]not" in shown


async def test_a_conversation_that_cannot_be_read_leaves_the_one_that_is_shown(
    bench: AppBench, fruit: list[Conversation], store: ChatStore
) -> None:
    edit_file(store, "UPDATE messages SET details = '['")
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        await open_list(pilot, "pears")
        await pilot.press("enter")
        await settle(pilot)
        assert fruit[1].id in status_of(app)
        assert questions_of(chat_of(app).transcript.conversation) == ["hello"]


async def test_commands_change_the_conversation_that_is_shown(bench: AppBench, store: ChatStore) -> None:
    async with bench.run() as (app, pilot):
        for command in ("/rename Orchard", "/pin"):
            await send(pilot, command)
            assert "nothing of this conversation is saved yet" in status_of(app)
        await send(pilot, "hello")
        await send(pilot, "/rename Orchard")
        assert "now called “Orchard”" in status_of(app)
        await send(pilot, "/pin")
        assert "pinned" in status_of(app)
        [one] = store.summaries()
        assert (one.title, one.pinned) == ("Orchard", True)
        await send(pilot, "/pin")
        assert "no longer pinned" in status_of(app)
        await send(pilot, "/rename")
        assert isinstance(app.screen, LineScreen)
        assert app.screen.query_one(Input).value == "Orchard"
        await pilot.press("escape")
        await send(pilot, "/delete")
        await pilot.press("y")
        await settle(pilot)
        assert roles(app) == []
    assert store.summaries() == []


# Times.


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nine hours before UTC, all year."""
    if os.name != "posix":
        pytest.skip("the zone of a process can be set on POSIX alone")
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        ("2026-03-14T19:00:00+00:00", "today 04:00"),
        ("2026-03-14T14:59:59+00:00", "yesterday 23:59"),
        ("2026-03-09T01:00:00+00:00", "Mon 10:00"),
        ("2026-03-08T01:00:00+00:00", "8 Mar"),
        ("2025-12-31T20:00:00+00:00", "1 Jan"),
        ("2025-12-31T10:00:00+00:00", "31 Dec 2025"),
        ("2026-03-20T01:00:00+00:00", "20 Mar"),
        ("once upon a time", "once upon a time"),
    ],
)
def test_a_moment_is_said_in_the_time_of_this_machine(stamp: str, said: str) -> None:
    assert local_time(stamp, NOW) == said


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("words", ["", "re"], ids=["all", "searched"])
async def test_the_list_of_conversations_looks_as_it_did(
    words: str, size: tuple[int, int], bench: AppBench, picture: Picture, store: ChatStore
) -> None:
    saved_at(store, "2024-01-05T12:00:00+00:00", "why leaves are green", target="gemma3-270m")
    for month, question in enumerate(
        (
            "a function that reverses a list",
            "how to rehearse a talk when there is very little time left to do it well",
            "plums",
        ),
        1,
    ):
        saved_at(
            store, f"2025-{month:02}-05T12:00:00+00:00", question, target="a-very-long-name-of-a-model-1.5b"
        )
    store.pin(store.summaries()[-1].id, True)
    async with bench.run(size=size) as (app, pilot):
        await open_list(pilot, words)
        # Processor and memory differ between machines.
        app.screen_stack[0].query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await picture(pilot)
