"""The app and its saved conversations: what it says of them, and that it starts and answers in any case."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from textual.widgets import Static

from edgespec.llama.sampling_wish import SamplingWish
from edgespec.paths import chats_dir
from tests.tui.chat_files import conversation, edit_file, questions_of
from tests.tui.chat_script import chat_of, open_list, roles, send, status_of
from tests.tui.conftest import LARGE, AppBench, settle
from tests.tui.scripted import PAIR
from tui.app import EdgespecApp
from tui.chat.conversation import Message
from tui.chat.database import VERSION
from tui.chat.store import ChatStore
from tui.services.launch import Launch

pytestmark = pytest.mark.usefixtures("lasting_notes")


@pytest.fixture
def store() -> ChatStore:
    """That of the app."""
    return ChatStore(chats_dir())


def said(app: EdgespecApp) -> list[str]:
    return [note.message for note in app._notifications]


async def test_a_conversation_is_kept_with_its_model_and_its_sampling(
    bench: AppBench, store: ChatStore
) -> None:
    app = bench.make(Launch(sampling=SamplingWish(temperature=0.5)))
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await send(pilot, "hello")
        kept = store.newest()
        assert kept == chat_of(app).transcript.conversation
        assert (kept.target, kept.sampling) == (PAIR.target, SamplingWish(temperature=0.5))


async def test_what_was_asked_before_is_at_hand_by_up(bench: AppBench, store: ChatStore) -> None:
    for name in ("first", "second"):
        store.save(conversation(name))
    async with bench.run() as (app, pilot):
        shown = []
        for _ in range(3):
            await pilot.press("up")
            shown.append(chat_of(app).prompt.text)
        assert shown == ["second", "first", "first"]


async def test_what_an_edit_replaced_stays_in_the_database(bench: AppBench, store: ChatStore) -> None:
    async with bench.run() as (_, pilot):
        await send(pilot, "before")
        await pilot.press("ctrl+up")
        await settle(pilot)
        await send(pilot, "after")
    with closing(sqlite3.connect(store.database.file)) as connection:
        rows = connection.execute("SELECT text FROM messages WHERE role = 'user'").fetchall()
    assert rows == [("before",), ("after",)]
    assert [questions_of(store.load(one.id)) for one in store.summaries()] == [["after"]]


async def test_a_conversation_that_went_on_elsewhere_goes_on_beside_it_and_that_is_said(
    bench: AppBench, store: ChatStore
) -> None:
    begun = store.save(conversation("begun"))
    async with bench.run(Launch(resume_last=True)) as (app, pilot):
        store.save(begun.add(Message("user", "elsewhere")))
        for question in ("here", "and here"):
            await send(pilot, question)
        assert said(app) == [
            "this conversation went on in another window: what is written here is kept as one of its own"
        ]
    lines = {tuple(questions_of(store.load(one.id))) for one in store.summaries()}
    assert lines == {("begun", "elsewhere"), ("begun", "here", "and here")}


async def test_a_database_of_a_later_version_is_said_once_and_left_alone(
    bench: AppBench, store: ChatStore, tmp_path: Path
) -> None:
    store.save(conversation("one"))
    edit_file(store, f"PRAGMA user_version = {VERSION + 1}")
    before = store.database.file.read_bytes()
    async with bench.run(Launch(resume_last=True)) as (app, pilot):
        await send(pilot, "hello")
        assert roles(app) == ["user", "assistant"]
        await open_list(pilot)
        assert "later version of edgespec" in str(app.screen.query_one("#conversations-note", Static).content)
        await pilot.press("escape")
        await send(pilot, f"/export {tmp_path / 'chat.md'}")
        [text] = said(app)
        assert text.startswith(f"{store.database.file} is of a later version of edgespec")
        assert "\n" not in text
    assert "## You\n\nhello" in (tmp_path / "chat.md").read_text()
    assert store.database.file.read_bytes() == before


async def test_a_damaged_database_is_said_and_the_app_starts(bench: AppBench, store: ChatStore) -> None:
    store.save(conversation("one"))
    store.database.file.write_bytes(b"not a database" * 500)
    async with bench.run(Launch(resume_last=True)) as (app, pilot):
        await send(pilot, "hello")
        [text] = said(app)
        assert text.startswith(f"{store.database.file} is damaged: it is kept as conversations.damaged-")
    assert [one.title for one in store.summaries()] == ["hello"]


async def test_a_conversation_whose_messages_are_damaged_costs_itself_alone(
    bench: AppBench, store: ChatStore
) -> None:
    chat = store.save(conversation("one"))
    edit_file(store, "UPDATE messages SET details = '['")
    async with bench.run(Launch(resume_last=True)) as (app, pilot):
        assert len(said(app)) == 1 and chat.id in said(app)[0]
        await open_list(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert chat.id in status_of(app)
        await send(pilot, "hello")
    assert {one.title for one in store.summaries()} == {"one", "hello"}


async def test_what_cannot_be_saved_is_said_once_and_saved_when_it_can_be(
    bench: AppBench, store: ChatStore
) -> None:
    chats_dir().parent.mkdir(parents=True)
    chats_dir().write_text("no folder")
    async with bench.run() as (app, pilot):
        await send(pilot, "one")
        assert len(said(app)) == 1 and "cannot be made" in said(app)[0]
        chats_dir().unlink()
        await send(pilot, "two")
        assert len(said(app)) == 1
    assert [questions_of(store.load(one.id)) for one in store.summaries()] == [["one", "two"]]
