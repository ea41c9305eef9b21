"""Messages that are sent while an answer comes wait for it, in sight; none of them is lost."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edgespec.paths import chats_dir
from edgespec.worker.protocol import Answer, Answered, RequestFailed
from tests.tui.chat_files import conversation, kill_app_after, posix_only
from tests.tui.chat_script import chat_of, found, open_list, roles, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import finished_stats
from tui.app import EdgespecApp
from tui.chat.store import ChatStore
from tui.chat.waiting import WaitingMessage
from tui.services.launch import Launch


@pytest.fixture
def store() -> ChatStore:
    """That of the app."""
    return ChatStore(chats_dir())


def waiting_in(app: EdgespecApp) -> list[str]:
    return chat_of(app).pane.sending.waiting.texts


def questions_asked(bench: AppBench) -> list[str]:
    requests = [one for worker in bench.workers for one in worker.requests if isinstance(one, Answer)]
    return [one.messages[-1].content for one in requests]


async def end_answer(bench: AppBench, stopped: str = "eog") -> None:
    bench.workers[0].say(Answered(finished_stats(stopped), 1))


async def test_they_are_shown_and_sent_one_after_another(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        for text in ("one", "two", "three"):
            await send(pilot, text)
        assert (waiting_in(app), roles(app)) == (["two", "three"], ["user"])
        assert [line.text for line in app.screen.query(WaitingMessage)] == ["two", "three"]
        await end_answer(bench)
        await settle(pilot)
        assert (waiting_in(app), questions_asked(bench)) == (["three"], ["one", "two"])
        # To stop an answer makes room for the next one.
        await pilot.press("escape")
        await settle(pilot)
        assert (waiting_in(app), questions_asked(bench)) == ([], ["one", "two", "three"])
        assert not chat_of(app).pane.sending.waiting.display


async def test_a_message_waits_for_the_model_as_well(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        bench.workers[0].die()
        await settle(pilot)
        pair, bench.options["pair"] = bench.workers[0]._pair, None
        pane = chat_of(app).pane
        pane.sending.ask("one")
        pane.sending.send("two")
        assert waiting_in(app) == ["two"]
        await settle(pilot)
        # It could not be loaded: the first one is back in the prompt, the second one waits until that is answered.
        assert (pane.prompt.text, waiting_in(app)) == ("one", ["two"])
        bench.options["pair"] = pair
        await pilot.press("enter")
        await settle(pilot)
        assert (questions_asked(bench), waiting_in(app)) == (["one"], ["two"])


async def test_up_takes_the_newest_back_before_it_goes_through_the_history(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        for text in ("one", "two", "three"):
            await send(pilot, text)
        prompt = chat_of(app).prompt
        await pilot.press("up")
        assert (prompt.text, waiting_in(app)) == ("three", ["two"])
        await pilot.press("!", "enter")
        await settle(pilot)
        assert waiting_in(app) == ["two", "three!"]
        # While something is written, Up is the history's.
        await pilot.press("x", "up")
        assert (prompt.text, waiting_in(app)) == ("three!", ["two", "three!"])


async def test_a_click_takes_one_back_or_throws_it_away(bench: AppBench) -> None:
    async with bench.run(hold=True, size=SMALL) as (app, pilot):
        for text in ("one", "two", "three", "four"):
            await send(pilot, text)
        lines = list(app.screen.query(WaitingMessage))
        await pilot.click(lines[0], offset=(lines[0].size.width - 3, 0))
        await settle(pilot)
        assert (waiting_in(app), chat_of(app).prompt.text) == (["three", "four"], "")
        await pilot.click(lines[1], offset=(12, 0))
        await settle(pilot)
        assert (waiting_in(app), chat_of(app).prompt.text) == (["four"], "three")
        await pilot.click(lines[2], offset=(12, 0))
        await settle(pilot)
        assert (waiting_in(app), chat_of(app).prompt.text) == (["four"], "three")
        assert "another message is being written" in status_of(app)


@pytest.mark.parametrize("failure", ["dead", "refused"])
async def test_after_a_failure_they_wait_until_an_answer_comes(failure: str, bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "one")
        await send(pilot, "two")
        if failure == "dead":
            bench.workers[0].die()
        else:
            bench.workers[0].say(RequestFailed("it does not work"))
        await settle(pilot)
        assert (waiting_in(app), questions_asked(bench)) == (["two"], ["one"])
        await send(pilot, "three")
        await settle(pilot)
        assert questions_asked(bench) == ["one", "three"]
        bench.workers[-1].say(Answered(finished_stats(), 1))
        await settle(pilot)
        assert questions_asked(bench) == ["one", "three", "two"]


async def test_what_waits_when_the_app_ends_is_in_the_prompt_when_the_conversation_is_opened(
    bench: AppBench, store: ChatStore
) -> None:
    async with bench.run(hold=True) as (app, pilot):
        for text in ("one", "two", "three"):
            await send(pilot, text)
        await pilot.press(*"half")
    bench.options["hold"] = False
    app = bench.make(Launch(resume_last=True))
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        assert chat_of(app).prompt.text == "two\n\nthree\n\nhalf"
        assert roles(app)[0] == "user"
        await pilot.press("enter")
        await settle(pilot)
        assert questions_asked(bench)[-1] == "two\n\nthree\n\nhalf"
    newest = store.newest()
    assert newest is not None and store.draft(newest.id) == ""


async def test_a_draft_comes_back_with_its_conversation_and_never_over_what_is_written(
    bench: AppBench, store: ChatStore
) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "one")
        await send(pilot, "two")
        bench.workers[0].die()
        await settle(pilot)
        await pilot.press("ctrl+n")
        await settle(pilot)
        assert (waiting_in(app), chat_of(app).prompt.text) == ([], "")
        await open_list(pilot, "one")
        await pilot.press("enter")
        await found(pilot)
        assert chat_of(app).prompt.text == "two"
        await pilot.press("ctrl+n")
        await open_list(pilot, "one")
        await pilot.press("enter")
        await found(pilot)
        assert chat_of(app).prompt.text == "two"
        chat_id = chat_of(app).transcript.conversation.id
        assert store.draft(chat_id) == "two"


async def test_a_draft_that_finds_the_prompt_taken_is_kept_for_another_time(
    bench: AppBench, store: ChatStore
) -> None:
    one = store.save(conversation("one"))
    store.keep_draft(one.id, "two")
    async with bench.run() as (app, pilot):
        await pilot.press(*"three")
        await open_list(pilot, "one")
        await pilot.press("enter")
        await found(pilot)
        assert chat_of(app).prompt.text == "three"
        await pilot.press("enter")
        await settle(pilot)
        assert questions_asked(bench) == ["three"]
        assert store.draft(one.id) == "two"


async def test_a_first_message_that_was_never_asked_is_there_at_the_next_start(bench: AppBench) -> None:
    Path("notes.md").write_text("# Notes")
    first = bench.make(pair=None)
    async with first.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await send(pilot, "what is in @notes.md")
        await settle(pilot)
    for _ in range(2):  # nothing was ever saved but this
        again = bench.make()
        async with again.run_test(size=LARGE) as pilot:
            await settle(pilot)
            assert chat_of(again).prompt.text == "what is in @notes.md"
            assert roles(again) == []
    async with bench.make().run_test(size=LARGE) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await settle(pilot)
        assert questions_asked(bench)[-1].startswith("what is in @notes.md")
    last = bench.make()
    async with last.run_test(size=LARGE) as pilot:
        await settle(pilot)
        assert chat_of(last).prompt.text == ""


async def test_what_goes_along_into_a_new_conversation_is_kept_once(
    bench: AppBench, store: ChatStore
) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press(*"half", "alt+t", "ctrl+pageup", "ctrl+n")
        await settle(pilot)
        assert chat_of(app).prompt.text == "half"
    assert store.take_first_drafts("other") == "half"


_QUEUE = """
app.screen.pane.sending.send("one")
app.screen.pane.sending.send("two")
app.screen.pane.sending.send("three")
"""


@posix_only
def test_what_waits_when_the_app_is_killed_is_kept(store: ChatStore) -> None:
    kill_app_after(_QUEUE)
    newest = store.newest()
    assert newest is not None
    assert [message.content for message in newest.messages] == ["one"]
    assert store.draft(newest.id) == "two\n\nthree"
    store.delete(newest.id)
    with closing(sqlite3.connect(store.database.file)) as connection:
        assert connection.execute("SELECT count(*) FROM drafts").fetchone() == (0,)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_messages_that_wait_look_as_they_did(
    size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    async with bench.run(size=size, hold=True) as (app, pilot):
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        for text in ("What is a palindrome?", "and an example\nin Rust", "a long message " * 12):
            await send(pilot, text)
        await picture(pilot)
