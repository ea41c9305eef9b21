"""Several conversations side by side, with one engine: each keeps its own, and is answered when its turn has come."""

from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Static

from edgespec.decode.policy import Mode
from edgespec.paths import chats_dir
from edgespec.worker.protocol import Answer, Answered, CountTokens, OpenPair, RequestFailed, Stop
from tests.tui.chat_files import conversation, kill_app_after, posix_only
from tests.tui.chat_script import chat_of, found, open_list, send, status_of, write
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import PAIR, finished_stats
from tui.app import EdgespecApp
from tui.chat.conversation import Opened
from tui.chat.pane import ChatPane
from tui.chat.store import ChatStore
from tui.chat.tab_mark import TabMark
from tui.chat.tab_row import TabLabel, TabRow, row_of
from tui.common.ask import AskScreen
from tui.services.launch import Launch


@pytest.fixture
def store() -> ChatStore:
    """That of the app."""
    return ChatStore(chats_dir())


def panes(app: EdgespecApp) -> list[ChatPane]:
    return chat_of(app).tabs.panes


def roles_of(pane: ChatPane) -> list[str]:
    return [message.role for message in pane.transcript.conversation.messages]


def asked(bench: AppBench) -> list[str]:
    requests = [one for worker in bench.workers for one in worker.requests if isinstance(one, Answer)]
    return [one.messages[-1].content for one in requests]


def said_in(pane: ChatPane) -> str:
    return str(pane.query_one("#status", Static).content)


async def press(pilot: Pilot[int], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def test_a_tab_has_a_conversation_and_a_prompt_of_its_own(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        row = app.screen.query_one(TabRow)
        assert not row.display
        await send(pilot, "about apples")
        await write(pilot, "half a thought")
        await press(pilot, "alt+t")
        first, second = panes(app)
        assert (row.display, second.display, first.display) == (True, True, False)
        assert (app.screen.focused, second.prompt.text) == (second.prompt, "")
        await pilot.press(*"pears", "enter")
        await settle(pilot)
        assert second.transcript.conversation.messages[0].content == "pears"
        assert first.transcript.conversation.messages[0].content == "about apples"
        await press(pilot, "ctrl+pageup")
        assert (first.display, first.prompt.text) == (True, "half a thought")
        assert app.screen.focused is first.prompt
        await press(pilot, "ctrl+pageup")
        assert second.display
        await send(pilot, "/tab 1")
        assert first.display
        await send(pilot, "/tab 9")
        assert "there is no tab 9" in status_of(app)


async def test_a_key_with_alt_writes_nothing_as_a_terminal_sends_it(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        for key, character in (("alt+x", "x"), ("alt+t", "t")):
            app.post_message(Key(key, character).set_sender(app))
            await settle(pilot)
        assert [pane.prompt.text for pane in panes(app)] == ["", ""]


async def test_each_tab_keeps_its_settings_and_what_was_asked_before(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        await send(pilot, "/sampling temperature 0.3")
        await send(pilot, "/system Be brief.")
        await send(pilot, "/tab new")
        await press(pilot, "up")
        assert chat_of(app).prompt.text == "hello"
        await press(pilot, "enter")
        await press(pilot, "ctrl+pageup")
        await send(pilot, "again")
        requests = [one for one in bench.workers[0].requests if isinstance(one, Answer)]
        assert [one.sampling.temperature for one in requests] == [None, None, 0.3]
        assert [one.messages[0].content for one in requests] == ["hello", "hello", "Be brief."]


async def test_a_tab_keeps_its_place(bench: AppBench, store: ChatStore) -> None:
    long = store.save(conversation(*(f"question {number}" for number in range(30))))
    async with bench.run(size=SMALL) as (app, pilot):
        await open_list(pilot)
        await pilot.press("enter")
        await found(pilot)
        transcript = chat_of(app).transcript
        assert (transcript.conversation.id, transcript.is_following) == (long.id, True)
        await press(pilot, "pageup", "pageup")
        place = transcript.scroll_y
        assert (place > 0, transcript.is_following) == (True, False)
        await press(pilot, "alt+t", "ctrl+pageup")
        assert (transcript.scroll_y, transcript.is_following) == (place, False)


async def test_an_answer_goes_on_unseen_and_what_is_asked_meanwhile_has_its_turn_then(
    bench: AppBench,
) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "one")
        await send(pilot, "three")  # waits behind its own answer
        await press(pilot, "alt+t")
        await send(pilot, "two")
        first, second = panes(app)
        assert [pane.mark for pane in panes(app)] == [TabMark.ANSWERING, TabMark.WAITS]
        assert "another tab is being answered" in status_of(app)
        assert asked(bench) == ["one"]
        bench.workers[0].say(Answered(finished_stats(), 1))
        await settle(pilot)
        # In turns: the next message of the first tab comes after that of the second.
        assert asked(bench) == ["one", "two"]
        assert [pane.mark for pane in panes(app)] == [TabMark.WAITS, TabMark.ANSWERING]
        assert (roles_of(first), roles_of(second)) == (["user", "assistant", "user"], ["user"])
        bench.workers[0].say(Answered(finished_stats(), 1))
        await settle(pilot)
        assert asked(bench) == ["one", "two", "three"]
        bench.workers[0].say(Answered(finished_stats(), 1))
        await settle(pilot)
        assert [pane.mark for pane in panes(app)] == [TabMark.ANSWERED, TabMark.NONE]
        assert roles_of(first) == ["user", "assistant"] * 2
        await press(pilot, "ctrl+pageup")
        assert first.mark is TabMark.NONE


async def test_escape_takes_a_waiting_message_back_and_stops_no_other_answer(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "one")
        await press(pilot, "alt+t")
        await press(pilot, "escape")
        assert "another tab is being answered: Esc there stops it" in status_of(app)
        await send(pilot, "two")
        await press(pilot, "escape")
        first, second = panes(app)
        assert (second.prompt.text, roles_of(second), second.mark) == ("two", [], TabMark.NONE)
        assert not any(isinstance(one, Stop) for one in bench.workers[0].requests)
        bench.workers[0].say(Answered(finished_stats(), 1))
        await settle(pilot)
        assert asked(bench) == ["one"]
        assert first.mark is TabMark.ANSWERED


async def test_files_are_counted_when_the_engine_is_free(bench: AppBench) -> None:
    Path("notes.md").write_text("# Notes")
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "one")
        await press(pilot, "alt+t")
        await send(pilot, "sum up @notes.md")
        requests = bench.workers[0].requests
        assert chat_of(app).pane.mark is TabMark.WAITS
        assert not any(isinstance(one, CountTokens) for one in requests)
        bench.workers[0].say(Answered(finished_stats(), 1))
        await settle(pilot)
        assert [type(one) for one in requests[-2:]] == [CountTokens, Answer]
        assert roles_of(panes(app)[0]) == ["user", "assistant"]
        # Esc takes one back that has not been asked.
        await press(pilot, "ctrl+pageup")
        await send(pilot, "and @notes.md")
        await press(pilot, "escape")
        assert (chat_of(app).prompt.text, chat_of(app).pane.is_at_work) == ("and @notes.md", False)
        assert panes(app)[1].is_busy


async def test_what_waits_in_a_tab_that_is_closed_is_kept_and_not_asked(
    bench: AppBench, store: ChatStore
) -> None:
    async with bench.run(hold=True) as (_, pilot):
        await send(pilot, "one")
        await send(pilot, "two")
        await press(pilot, "alt+t", "ctrl+pageup", "alt+w", "y")
        await settle(pilot)
        assert asked(bench) == ["one"]
        newest = store.newest()
        assert newest is not None and store.draft(newest.id) == "two"


async def test_a_failure_is_told_where_it_belongs(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "one")
        await press(pilot, "alt+t")
        await send(pilot, "two")
        first, second = panes(app)
        bench.workers[0].say(RequestFailed("it does not work"))
        await settle(pilot)
        assert (first.mark, second.mark) == (TabMark.FAILED, TabMark.ANSWERING)
        assert "it does not work" in said_in(first)
        assert "it does not work" not in status_of(app)
        assert asked(bench) == ["one", "two"]
        bench.workers[0].die()
        await settle(pilot)
        assert roles_of(second) == ["user", "assistant"]
        assert "/restart" in status_of(app)


async def test_models_that_are_unloaded_in_the_middle_of_an_answer_cost_that_answer_alone(
    bench: AppBench,
) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "one")
        await app.engine.close()
        await settle(pilot)
        pane = chat_of(app).pane
        assert (roles_of(pane), pane.is_at_work) == (["user", "assistant"], False)
        assert "the models were unloaded" in status_of(app)
        await send(pilot, "two")
        await settle(pilot)
        assert asked(bench) == ["one", "two"]


async def test_a_model_that_cannot_be_loaded_gives_every_message_back(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        bench.workers[0].die()
        await settle(pilot)
        await press(pilot, "alt+t")
        first, second = panes(app)
        bench.options["pair"] = None
        first.sending.send("one")
        second.sending.send("two")
        await settle(pilot)
        await settle(pilot)
        assert (first.prompt.text, second.prompt.text) == ("one", "two")
        assert not first.is_at_work and not second.is_at_work


async def test_closing_asks_where_an_answer_is_under_way_and_keeps_what_came(
    bench: AppBench, store: ChatStore
) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await press(pilot, "alt+w")
        assert "this is the only tab" in status_of(app)
        await press(pilot, "alt+t")
        await send(pilot, "one")
        await press(pilot, "alt+w")
        assert isinstance(app.screen, AskScreen)
        await press(pilot, "n")
        assert len(panes(app)) == 2 and chat_of(app).pane.is_busy
        await press(pilot, "alt+w", "y")
        await settle(pilot)
        assert len(panes(app)) == 1
        assert not app.screen.query_one(TabRow).display
        kept = store.newest()
        assert kept is not None
        assert [message.role for message in kept.messages] == ["user", "assistant"]
        assert kept.messages[-1].stopped


async def test_what_is_written_in_a_tab_that_is_closed_is_not_lost(bench: AppBench, store: ChatStore) -> None:
    async with bench.run() as (app, pilot):
        await press(pilot, "alt+t")
        await write(pilot, "not sent")
        await press(pilot, "alt+w")
        assert "Up brings it back" in status_of(app)
        await press(pilot, "up")
        assert chat_of(app).prompt.text == "not sent"
        await press(pilot, "ctrl+c", "alt+t")
        await send(pilot, "sent")
        await write(pilot, "kept")
        await press(pilot, "alt+w")
        newest = store.newest()
        assert newest is not None and store.draft(newest.id) == "kept"


async def test_the_list_opens_in_a_tab_and_leads_to_what_is_open(bench: AppBench, store: ChatStore) -> None:
    store.save(conversation("apples"))
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "pears")
        await open_list(pilot, "apples")
        await pilot.press("enter")  # an answer is under way here
        await found(pilot)
        assert [pane.title for pane in panes(app)] == ["pears", "apples"]
        await open_list(pilot, "pears")
        await pilot.press("enter")
        await found(pilot)
        assert (len(panes(app)), chat_of(app).pane.title) == (2, "pears")
        assert chat_of(app).pane.is_busy
        await press(pilot, "escape")
        store.save(conversation("plums"))
        await open_list(pilot, "plums")
        await pilot.press("alt+t")
        await found(pilot)
        assert [pane.title for pane in panes(app)] == ["pears", "plums", "apples"]


async def test_what_is_renamed_or_deleted_in_the_list_is_so_in_its_tab(
    bench: AppBench, store: ChatStore
) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "apples")
        await press(pilot, "alt+t")
        await send(pilot, "/rename Fruit")
        assert "nothing of this conversation is saved yet" in status_of(app)
        first, _ = panes(app)
        await open_list(pilot, "apples")
        await press(pilot, "ctrl+r")
        await pilot.press(*" pie", "enter")
        await found(pilot)
        assert first.title == "apples pie"
        # It is being answered: nothing of it comes back.
        await press(pilot, "ctrl+d")
        question = str(app.screen.query_one(".dialog-text", Static).content)
        assert "which is open in a tab" in question
        await press(pilot, "y", "escape")
        await settle(pilot)
        assert [pane.title for pane in panes(app)] == [""]
        assert isinstance(bench.workers[0].requests[-1], Stop)
        assert store.summaries() == []
        await send(pilot, "pears")
        assert asked(bench)[-1] == "pears"


async def test_a_conversation_deleted_in_the_middle_of_its_answer_leaves_an_empty_one(
    bench: AppBench, store: ChatStore
) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "apples")
        await open_list(pilot, "apples")
        await press(pilot, "ctrl+d", "y", "escape")
        await settle(pilot)
        [pane] = panes(app)
        assert (roles_of(pane), pane.is_at_work, store.summaries()) == ([], False, [])
        assert app.screen.focused is pane.prompt


async def test_the_model_of_a_tab_comes_back_when_the_tab_is_used(
    bench: AppBench, store: ChatStore, tiny_model: Path
) -> None:
    saved = replace(conversation("hello"), target="tiny", opened=Opened(str(tiny_model), Mode.AUTO))
    store.save(saved)
    async with bench.run(Launch(target="target-1b")) as (app, pilot):
        await send(pilot, "one")
        await press(pilot, "alt+t")
        bench.options["pair"] = replace(PAIR, target="tiny")
        await open_list(pilot, "hello")
        await pilot.press("enter")
        await found(pilot)
        await pilot.pause(0.1)
        await settle(pilot)
        assert app.engine.pair is not None and app.engine.pair.target == "tiny"
        # To look at another tab loads nothing, to write there does, where its model is on this machine.
        await press(pilot, "ctrl+pageup")
        assert app.engine.pair.target == "tiny"
        await send(pilot, "two")
        await pilot.pause(0.1)
        await settle(pilot)
        assert panes(app)[0].transcript.conversation.messages[-1].role == "assistant"
        await press(pilot, "ctrl+pageup")
        await send(pilot, "three")
        await settle(pilot)
        assert roles_of(panes(app)[1])[-1] == "assistant"


def opened_targets(bench: AppBench) -> list[str | None]:
    requests = [request for worker in bench.workers for request in worker.requests]
    return [request.target for request in requests if isinstance(request, OpenPair)]


async def test_a_model_that_was_chosen_in_a_tab_stays_its_model(
    bench: AppBench, store: ChatStore, tiny_model: Path
) -> None:
    saved = replace(conversation("hello"), target="tiny", opened=Opened(str(tiny_model), Mode.AUTO))
    store.save(saved)
    bench_pair = replace(PAIR, target="tiny")
    async with bench.run(Launch(target=str(tiny_model)), pair=bench_pair) as (_, pilot):
        await open_list(pilot, "hello")
        await pilot.press("enter")
        await found(pilot)
        bench.options["pair"] = PAIR
        await send(pilot, "/model other")
        await settle(pilot)
        await send(pilot, "with the other")
        await press(pilot, "alt+t")
        await send(pilot, "here too")
        await press(pilot, "ctrl+pageup")
        await send(pilot, "and again")
        await settle(pilot)
        assert opened_targets(bench) == [str(tiny_model), "other"]
        assert asked(bench) == ["with the other", "here too", "and again"]
        # In a tab that was left before, the model that answered there is loaded again.
        bench.options["pair"] = bench_pair
        store.save(replace(conversation("older"), target="tiny", opened=Opened(str(tiny_model), Mode.AUTO)))
        await open_list(pilot, "older")
        await pilot.press("alt+t")
        await found(pilot)
        await pilot.pause(0.1)
        await settle(pilot)
        assert opened_targets(bench) == [str(tiny_model), "other", str(tiny_model)]


async def test_what_was_open_is_open_again_with_continue(bench: AppBench, store: ChatStore) -> None:
    async with bench.run() as (_, pilot):
        for text in ("apples", "pears", "plums"):
            await send(pilot, text)
            await press(pilot, "alt+t")
        await send(pilot, "/tab 2")
        await write(pilot, "half")
    again = bench.make(Launch(resume_last=True))
    async with again.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await settle(pilot)
        assert [pane.title for pane in panes(again)] == ["apples", "pears", "plums"]
        shown = chat_of(again).pane
        assert (shown.title, shown.prompt.text) == ("pears", "half")
        assert [roles_of(pane) for pane in panes(again)] == [[], ["user", "assistant"], []]
        await press(pilot, "ctrl+pagedown")
        assert roles_of(panes(again)[2]) == ["user", "assistant"]
        await send(pilot, "more plums")
        assert roles_of(panes(again)[2]) == ["user", "assistant"] * 2
    # A newer one of another window, which was not among them, comes alone.
    store.save(replace(conversation("cherries"), updated_at="2999-01-01T00:00:00+00:00"))
    alone = bench.make(Launch(resume_last=True))
    async with alone.run_test(size=LARGE) as pilot:
        await settle(pilot)
        assert [pane.title for pane in panes(alone)] == ["cherries"]


_TABS = """
app.screen.pane.sending.send("one")
await pilot.pause()
await app.screen.tabs.open()
app.screen.pane.sending.send("two")
app.screen.pane.sending.send("three")
await pilot.pause()
"""


@posix_only
def test_an_app_that_is_killed_loses_no_tab(store: ChatStore) -> None:
    kill_app_after(_TABS)
    kept = store.open_tabs()
    assert [store.load(one).messages[0].content for one in kept.ids] == ["one", "two"]
    assert (kept.shown, store.draft(kept.ids[1])) == (kept.ids[1], "three")


def test_the_row_shows_as_many_as_there_is_room_for_and_always_the_shown_one() -> None:
    labels = [TabLabel(f"conversation {n}", TabMark.NONE, n == 11) for n in range(12)]
    labels[3] = replace(labels[3], mark=TabMark.ANSWERED)
    first, texts = row_of(labels, 80)
    assert (first, len(texts), texts[-1]) == (4, 8, " 12 conv… ")
    assert sum(map(len, texts)) <= 80
    assert row_of(labels[:2], 80) == (0, [" 1 conversation 0 ", " 2 conversation 1 "])
    assert row_of([TabLabel("", TabMark.ANSWERING, True)], 40) == (0, [" 1 new ▶ "])


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_tabs_look_as_they_did(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    async with bench.run(size=size) as (app, pilot):
        await send(pilot, "What is a palindrome, and which is the longest one that is known?")
        await press(pilot, "alt+t")
        bench.workers[0].hold = True
        await send(pilot, "Name three colours.")
        await press(pilot, "alt+t")
        await send(pilot, "and a question for later")
        await press(pilot, "alt+t", "ctrl+pageup")
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await picture(pilot)
