"""Where messages are written: Ctrl+C, the history, long pastes, and messages that were refused."""

import pytest
from textual import events
from textual.pilot import Pilot

from edgespec.worker.protocol import RequestFailed, Stop
from tests.tui.chat_files import conversation
from tests.tui.chat_script import chat_of, roles, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tui.app import EdgespecApp
from tui.chat.prompt_input import PromptInput
from tui.chat.store import ChatStore
from tui.common.ask import LeaveScreen
from tui.services.launch import Launch

LONG = "\n".join(f"line {number} of three hundred" for number in range(300))
MARK = "[pasted 300 lines, 7.5 KiB]"
REFUSED = RequestFailed("the prompt has 9000 tokens and the context 4096", "use a larger context")


def prompt_of(app: EdgespecApp) -> PromptInput:
    return chat_of(app).prompt


async def paste(pilot: Pilot[int], text: str) -> None:
    pilot.app.post_message(events.Paste(text))
    await settle(pilot)


def asked(app: EdgespecApp) -> list[str]:
    messages = chat_of(app).transcript.conversation.messages
    return [message.content for message in messages if message.role == "user"]


async def test_the_end_of_the_last_line_begins_no_other_line(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await paste(pilot, LONG + "\n")
        assert prompt_of(app).text == MARK
        await pilot.press("tab")
        assert prompt_of(app).text == LONG + "\n"


async def test_ctrl_c_stops_then_clears_then_asks_then_leaves(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        await pilot.press(*"more")
        await pilot.press("ctrl+c")
        await settle(pilot)
        assert bench.workers[0].requests[-1] == Stop()
        assert prompt_of(app).text == "more"
        await pilot.press("ctrl+c")
        await settle(pilot)
        assert prompt_of(app).text == ""
        assert "Up brings it back" in status_of(app)
        await pilot.press("up")
        assert prompt_of(app).text == "more"
        await pilot.press("ctrl+c", "ctrl+c")
        await settle(pilot)
        assert isinstance(app.screen, LeaveScreen)
        assert not app._notifications
        await pilot.press("escape")
        await settle(pilot)
        assert prompt_of(app).has_focus
        await pilot.press("ctrl+c", "ctrl+c")
        await settle(pilot)
        assert app.return_code == 0


async def test_ctrl_c_copies_what_is_selected_first(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        await pilot.press(*"some words", "shift+home", "ctrl+c")
        await settle(pilot)
        assert app.clipboard == "some words"
        assert Stop() not in bench.workers[0].requests


@pytest.mark.parametrize("key", ["f4", "f6"])
async def test_ctrl_c_asks_on_the_other_screens_too(key: str, bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press(key)
        await settle(pilot)
        await pilot.press("ctrl+c")
        await settle(pilot)
        assert isinstance(app.screen, LeaveScreen)
        assert not app._notifications


async def test_a_long_paste_is_one_mark_and_sent_whole(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press(*"see ")
        await paste(pilot, LONG)
        assert prompt_of(app).text == f"see {MARK}"
        await pilot.press(*" ok", "enter")
        await settle(pilot)
        assert asked(app) == [f"see {LONG} ok"]


async def test_lines_may_end_as_terminals_send_them(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await paste(pilot, LONG.replace("\n", "\r"))
        assert prompt_of(app).text == MARK
        assert prompt_of(app).message == LONG


async def test_a_short_paste_stays_as_it_is(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await paste(pilot, "one\ntwo")
        assert prompt_of(app).text == "one\ntwo"


async def test_the_cursor_passes_a_mark_in_one_step_and_deletes_it_as_one(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("a")
        await paste(pilot, LONG)
        await pilot.press("b", "left", "left")
        assert prompt_of(app).cursor_location == (0, 1)
        await pilot.press("right")
        assert prompt_of(app).cursor_location == (0, 1 + len(MARK))
        await pilot.press("backspace")
        assert prompt_of(app).text == "ab"
        await pilot.press("ctrl+z")
        assert prompt_of(app).message == f"a{LONG}b"


async def test_a_mark_opens_by_tab_or_a_click(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await paste(pilot, LONG)
        await pilot.press("tab")
        await settle(pilot)
        assert prompt_of(app).text == LONG
        await pilot.press("ctrl+c")
        await paste(pilot, LONG)
        await pilot.click(PromptInput, offset=(5, 0))
        await settle(pilot)
        assert prompt_of(app).text == LONG


async def test_two_pastes_of_one_size_stay_two(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await paste(pilot, LONG)
        await paste(pilot, LONG.replace("three", "seven"))
        await pilot.press("enter")
        await settle(pilot)
        assert asked(app) == [LONG + LONG.replace("three", "seven")]


async def test_a_message_of_many_lines_is_left_with_one_key(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "first")
        await send(pilot, "one\ntwo\nthree")
        await send(pilot, LONG)
        await pilot.press("up")
        assert prompt_of(app).text == MARK
        await pilot.press("up")
        assert prompt_of(app).text == "one\ntwo\nthree"
        await pilot.press("up")
        assert prompt_of(app).text == "first"
        await pilot.press("down")
        assert prompt_of(app).text == "one\ntwo\nthree"
        # Once the cursor has been moved, the arrows are the text's own.
        await pilot.press("left", "up")
        assert prompt_of(app).cursor_location[0] == 1
        assert prompt_of(app).text == "one\ntwo\nthree"


async def test_a_refused_message_is_back_in_the_prompt_and_not_saved(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        bench.workers[0].refuse = REFUSED
        await send(pilot, LONG)
        assert prompt_of(app).message == LONG
        assert roles(app) == []
        store = chat_of(app).pane.store
        assert store.summaries() == []
        assert store.recent_questions() == []
        bench.workers[0].refuse = None
        await pilot.press("enter")
        await settle(pilot)
        [saved] = store.summaries()
        assert saved.message_n == 2


async def test_a_refused_second_message_leaves_the_first_answered(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "one")
        bench.workers[0].refuse = REFUSED
        await send(pilot, "two")
        store = chat_of(app).pane.store
        [saved] = store.summaries()
        assert [message.content for message in store.load(saved.id).messages][:1] == ["one"]
        assert saved.message_n == 2
        bench.workers[0].refuse = None
        await send(pilot, "three")
        [saved] = store.summaries()
        assert saved.message_n == 4


async def test_without_a_model_nothing_is_saved(bench: AppBench) -> None:
    async with bench.run(Launch(target="nonsense"), pair=None) as (app, pilot):
        await send(pilot, "hello")
        assert prompt_of(app).text == "hello"
        assert chat_of(app).pane.store.summaries() == []


def test_a_refused_edit_leads_to_the_answer_that_it_would_have_replaced(store: ChatStore) -> None:
    first = store.save(conversation("one", "two"))
    edited, _ = first.without_last_question()
    asked = store.save(edited.add(conversation("other").messages[0]))
    assert store.take_back(asked, first.head) == first.head
    assert store.load(first.id) == first


def test_what_another_app_went_on_from_is_not_taken_back(store: ChatStore) -> None:
    asked = store.save(conversation("one").without_last_answer())
    answered = store.save(asked.add(conversation("x").messages[1]))
    assert store.take_back(asked, "") == answered.head
    assert store.load(asked.id) == answered


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_a_collapsed_paste_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    async with bench.run(size=size) as (app, pilot):
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await pilot.press(*"What is this? ")
        await paste(pilot, LONG)
        await picture(pilot)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_question_before_leaving_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    async with bench.run(size=size) as (app, pilot):
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await pilot.press("ctrl+c")
        await settle(pilot)
        await picture(pilot)
