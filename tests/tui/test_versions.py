"""Edits and other answers are versions: nothing that was said goes, and keys, commands and clicks lead to all of it."""

import pytest
from textual.app import App

from edgespec.paths import chats_dir
from edgespec.worker.protocol import Answer, Answered, RequestFailed
from tests.tui.chat_files import conversation, edit_file
from tests.tui.chat_script import TEXT, chat_of, roles, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import finished_stats
from tui.chat.conversation import Conversation, Message, Place
from tui.chat.store import ChatStore
from tui.chat.turn import AnswerTurn, UserTurn
from tui.chat.version_mark import VersionMark, version_words
from tui.common.ask import ChooseScreen
from tui.services.launch import Launch


def said(app: App[int]) -> list[str]:
    return [one.content for one in chat_of(app).transcript.conversation.messages]  # type: ignore[arg-type]


def marks(app: App[int]) -> list[str]:
    """Of the turns from the top, those that show one."""
    shown = [mark for mark in app.screen.query(VersionMark) if mark.display]
    return [version_words(mark.place) for mark in shown]


# In the values.


def test_a_version_leads_to_what_was_said_after_it() -> None:
    chat = conversation("one", "two")
    edited = chat.before(2).add(Message("user", "2")).add(Message("assistant", "zwei"))
    again = edited.before(3).add(Message("assistant", "deux"))
    assert [one.content for one in again.messages][2:] == ["2", "deux"]
    assert [again.place(index) for index in range(5)] == [
        Place(0),
        Place(1),
        Place(2, 2, 2),
        Place(3, 2, 2),
        Place(4),
    ]
    first = again.with_version(2, 1)
    assert first.messages == chat.messages
    assert first.with_version(2, 2).messages == again.messages
    assert again.with_version(3, 1).messages == edited.messages
    assert again.with_version(3, 9) == again.with_version(3, 2) == again


def test_all_versions_are_kept_and_loaded_in_their_order(store: ChatStore) -> None:
    chat = store.save(conversation("one"))
    chat = store.save(chat.before(1).add(Message("assistant", "second")))
    # One that could not be saved when it was written comes with the next.
    chat = chat.before(1).add(Message("assistant", "third")).before(1).add(Message("assistant", "fourth"))
    store.save(chat)
    loaded = store.load(chat.id)
    assert loaded == chat
    answers = [loaded.with_version(1, number).messages[1].content for number in (1, 2, 3, 4)]
    assert answers == [f"one? {TEXT}", "second", "third", "fourth"]


def test_a_database_of_before_is_taken_over_with_what_was_replaced(store: ChatStore) -> None:
    chat = store.save(conversation("one"))
    store.save(chat.before(1).add(Message("assistant", "second")))
    edit_file(store, "UPDATE messages SET details = json_remove(details, '$.seen', '$.context_n')")
    loaded = store.load(chat.id)
    assert (loaded.place(1), loaded.context_n(), loaded.seen().left_out_n) == (Place(1, 2, 2), 0, 0)
    assert loaded.with_version(1, 1).messages == chat.messages


def test_one_that_was_copied_has_no_versions_of_the_other() -> None:
    chat = conversation("one").before(1).add(Message("assistant", "second"))
    assert chat.copied().place(1) == Place(1)
    assert chat.copied().before(1).add(Message("assistant", "third")).place(1) == Place(1, 2, 2)


# On the screen.


async def test_another_answer_is_a_version_and_keys_step_through_them(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        assert marks(app) == []
        bench.workers[0]._says = [*_answer("Another one.")]
        await pilot.press("ctrl+r")
        await settle(pilot)
        assert (said(app), marks(app)) == (["hello", "Another one."], ["‹ 2/2 ›"])
        await pilot.press("alt+left")
        await settle(pilot)
        assert (said(app), marks(app)) == (["hello", TEXT], ["‹ 1/2 ›"])
        await pilot.press("alt+left")
        await settle(pilot)
        assert "there is no version 0" in status_of(app)
        await pilot.press("alt+right")
        await settle(pilot)
        assert said(app) == ["hello", "Another one."]
        kept = ChatStore(chats_dir()).newest()
        assert kept is not None and kept.messages[-1].content == "Another one."
        assert len(app.screen.query(AnswerTurn)) == 1


async def test_commands_step_through_them_too(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "/version next")
        assert "one version of everything" in status_of(app)
        await send(pilot, "hello")
        await pilot.press("ctrl+r")
        await settle(pilot)
        for line, mark in (("previous", "1/2"), ("next", "2/2"), ("1", "1/2"), ("2", "2/2")):
            await send(pilot, f"/version {line}")
            assert marks(app) == [f"‹ {mark} ›"]
        await send(pilot, "/version sideways")
        assert "it takes next, previous or a number" in status_of(app)


async def test_an_edit_is_a_version_with_a_way_of_its_own(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "first")
        await send(pilot, "second")
        await pilot.press("ctrl+up", "ctrl+up")
        await settle(pilot)
        prompt = chat_of(app).prompt
        assert prompt.text == "first"
        assert roles(app) == ["user", "assistant"] * 2
        assert [turn.has_class("replaced") for turn in chat_of(app).transcript.turns] == [True] * 4
        await send(pilot, "primo")
        assert (said(app), marks(app)) == (["primo", TEXT], ["‹ 2/2 ›"])
        assert len(app.screen.query(UserTurn)) == 1
        asked = [request for request in bench.workers[0].requests if isinstance(request, Answer)]
        assert [one.content for one in asked[-1].messages] == ["primo"]
        await pilot.press("alt+left")
        await settle(pilot)
        assert (said(app), marks(app)) == (["first", TEXT, "second", TEXT], ["‹ 1/2 ›"])


async def test_esc_leaves_an_edit_with_all_as_it_was(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        await pilot.press(*"half", "ctrl+up")
        await settle(pilot)
        assert chat_of(app).prompt.text == "hello"
        kept = ChatStore(chats_dir()).newest()
        assert kept is not None and [one.role for one in kept.messages] == ["user", "assistant"]
        await pilot.press("escape")
        await settle(pilot)
        assert chat_of(app).prompt.text == "half"
        assert (said(app), marks(app)) == (["hello", TEXT], [])
        assert not any(turn.has_class("replaced") for turn in chat_of(app).transcript.turns)
        await pilot.press("ctrl+up", "ctrl+n")
        await settle(pilot)
        assert chat_of(app).prompt.text == "half"


@pytest.mark.parametrize("what", ["edit", "regenerate"])
async def test_what_comes_to_nothing_gives_back_what_it_was_to_replace(what: str, bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].refuse = RequestFailed("the prompt has 9000 tokens")
        if what == "edit":
            await pilot.press("ctrl+up")
            await send(pilot, "much longer")
        else:
            await pilot.press("ctrl+r")
            await settle(pilot)
        assert "9000 tokens" in status_of(app)
        assert (said(app), marks(app)) == (["hello", TEXT], [])
        assert chat_of(app).prompt.text == ("much longer" if what == "edit" else "")
        assert len(app.screen.query(AnswerTurn)) == 1
        if what == "edit":
            # It still is one.
            bench.workers[0].refuse = None
            await send(pilot, "shorter")
            assert (said(app), marks(app)) == (["shorter", TEXT], ["‹ 2/2 ›"])


async def test_what_fails_beside_leaves_an_unanswered_message_where_it_is(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].die()
        await settle(pilot)
        chat = chat_of(app)
        chat.pane.show(conversation("before").add(Message("user", "never answered")))
        await send(pilot, "/restart")
        bench.workers[1].say(RequestFailed("draft-x cannot draft for target-1b"))
        await settle(pilot)
        assert said(app)[-1] == "never answered"
        assert chat.prompt.text == ""


async def test_an_app_that_is_killed_in_the_middle_has_lost_nothing(bench: AppBench) -> None:
    async with bench.run() as (_, pilot):
        await send(pilot, "hello")
        bench.workers[0].hold = True
        await pilot.press("ctrl+r")
        await settle(pilot)
        kept = ChatStore(chats_dir()).newest()
        assert kept is not None and [one.content for one in kept.messages] == ["hello", TEXT]
        bench.workers[0].say(Answered(finished_stats("interrupted"), 1))
        await settle(pilot)
        await pilot.press("ctrl+up")
        await send(pilot, "edited")
        kept = ChatStore(chats_dir()).newest()
        assert kept is not None and [one.content for one in kept.messages] == ["edited"]
        assert [one.content for one in kept.with_version(0, 1).with_version(1, 1).messages] == ["hello", TEXT]
        bench.workers[0].say(Answered(finished_stats(), 1))
        await settle(pilot)


async def test_versions_are_there_when_it_is_opened_again(bench: AppBench) -> None:
    async with bench.run() as (_, pilot):
        await send(pilot, "hello")
        await pilot.press("ctrl+r")
        await settle(pilot)
    again = bench.make(Launch(resume_last=True))
    async with again.run_test(size=LARGE) as pilot:
        await settle(pilot)
        assert marks(again) == ["‹ 2/2 ›"]


async def test_a_conversation_goes_another_way_from_any_message(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "first")
        await send(pilot, "second")
        await send(pilot, "/branch")
        assert isinstance(app.screen, ChooseScreen)
        await pilot.press(*"answer:", "down", "down", "enter")
        await settle(pilot)
        assert chat_of(app).prompt.text == ""
        await send(pilot, "zweitens")
        assert (said(app), marks(app)) == (["first", TEXT, "zweitens", TEXT], ["‹ 2/2 ›"])


async def test_the_turn_to_step_is_chosen_by_key_and_by_a_click(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "first")
        await pilot.press("ctrl+r")
        await settle(pilot)
        await send(pilot, "second")
        await pilot.press("ctrl+r")
        await settle(pilot)
        assert marks(app) == ["‹ 2/2 ›", "‹ 2/2 ›"]
        await pilot.press("alt+up", "alt+left")
        await settle(pilot)
        assert marks(app) == ["‹ 1/2 ›"]
        await pilot.press("alt+right")
        await settle(pilot)
        mark = next(mark for mark in app.screen.query(VersionMark) if mark.display)
        mark.scroll_visible(animate=False)
        await settle(pilot)
        await pilot.click(mark, offset=(0, 0))
        await settle(pilot)
        assert marks(app) == ["‹ 1/2 ›"]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_versions_look_as_they_did(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    async with bench.run(size=size) as (app, pilot):
        await send(pilot, "helo")
        await pilot.press("ctrl+up")
        await send(pilot, "hello")
        bench.workers[0]._says = [*_answer("Hi.")]
        await pilot.press("ctrl+r")
        await settle(pilot)
        await pilot.press("alt+up")
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await picture(pilot)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_an_edit_looks_as_it_did(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    async with bench.run(size=size) as (app, pilot):
        await send(pilot, "helo")
        await pilot.press("ctrl+up")
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await picture(pilot)


def _answer(text: str) -> list[object]:
    from edgespec.decode.token import DraftSource
    from edgespec.worker.protocol import Piece
    from tests.tui.scripted import MIB, tokens

    return [tokens((Piece(text, DraftSource.TARGET),), 3), Answered(finished_stats(), 960 * MIB)]


def test_the_empty_conversation_has_a_first_place() -> None:
    assert Conversation.begin().place(0) == Place(0, 1, 1)
