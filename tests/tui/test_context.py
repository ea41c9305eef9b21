"""A conversation and its context: how full it is, what is done at its end, and from where on the model sees it."""

from dataclasses import replace

import pytest
from textual.app import App
from textual.widgets import Collapsible

from edgespec.worker.protocol import Answer, Answered, RequestFailed
from tests.tui.chat_files import conversation
from tests.tui.chat_script import TEXT, chat_of, roles, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import ANSWER, finished_stats, tokens
from tui.app import EdgespecApp
from tui.chat.context_end import ContextEndScreen, needs_room, plan_summary
from tui.chat.context_meter import ContextMeter, context_words
from tui.chat.conversation import Conversation, Message, Seen
from tui.chat.cut_mark import CutMark, describe_cut
from tui.chat.screen import ChatScreen
from tui.services.launch import Launch
from tui.services.settings import AppSettings, load_settings

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
FULL = RequestFailed("the prompt has 9000 tokens and the context 4096", "ask less", context_full=True)


def shown_meter(app: App[int]) -> ContextMeter:
    [meter] = [one for one in app.screen.query(ContextMeter) if one.display and one.region.area]
    return meter


def asked_of(bench: AppBench) -> list[Answer]:
    return [request for request in bench.workers[0].requests if isinstance(request, Answer)]


def answered(stopped: str = "eog", prompt_n: int = 20, dropped_n: int = 0) -> Answered:
    return Answered(replace(finished_stats(stopped), prompt_n=prompt_n, dropped_n=dropped_n), 1)


@pytest.mark.parametrize(
    ("used", "size", "words"),
    [
        (467, 4096, "context 467/4,096"),
        (3276, 4096, "context 3,276/4,096"),
        (3277, 4096, "context 3,277/4,096 · 80 % full"),
        (4096, 4096, "context 4,096/4,096 · 100 % full"),
        (467, 0, "context 467 tokens"),
    ],
)
def test_the_meter_says_how_full_it_is_from_where_it_matters(used: int, size: int, words: str) -> None:
    assert context_words(used, size) == words


@SIZES
async def test_a_context_that_is_nearly_full_warns(
    size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    async with bench.run(size=size, says=(tokens(ANSWER), answered(prompt_n=3400))) as (app, pilot):
        assert not any(one.display for one in app.screen.query(ContextMeter))
        await send(pilot, "hello")
        meter = shown_meter(app)
        assert str(meter.content).startswith("context 3,441/4,096 · 84 % full")
        assert meter.has_class("warning")
        assert (meter.id == "rail-context") == (size == LARGE)
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await picture(pilot)
        await pilot.press("ctrl+n")
        await settle(pilot)
        assert not any(one.display for one in app.screen.query(ContextMeter))


async def test_the_meter_moves_into_the_line_where_the_charts_are_hidden(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        assert shown_meter(app).id == "rail-context"
        await pilot.press("ctrl+b")
        await settle(pilot)
        assert (shown_meter(app).id, str(shown_meter(app).content)) == ("context", "context 61/4,096")
        assert not shown_meter(app).has_class("warning")


async def test_a_conversation_that_is_opened_shows_what_it_takes(bench: AppBench) -> None:
    async with bench.run(size=SMALL) as (_, pilot):
        await send(pilot, "remember me")
    again = bench.make(Launch(resume_last=True))
    async with again.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert str(shown_meter(again).content) == "context 61/4,096"


@SIZES
async def test_the_choice_at_the_end_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    async with bench.run(size=size) as (app, pilot):
        await send(pilot, "one")
        bench.workers[0].refuse = FULL
        await send(pilot, "two")
        assert isinstance(app.screen, ContextEndScreen)
        chat_of_below(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await picture(pilot)


def chat_of_below(app: EdgespecApp) -> ChatScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    return screen


async def test_esc_at_the_end_chooses_nothing_and_the_message_stays(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "one")
        bench.workers[0].refuse = FULL
        await send(pilot, "two")
        await pilot.press("escape")
        await settle(pilot)
        assert app.settings.context_end == "ask"
        assert chat_of(app).prompt.text == "two"
        assert "9000 tokens" in status_of(app)


async def test_the_oldest_turns_are_left_out_as_chosen_once(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "one")
        bench.workers[0].refuse = FULL
        await send(pilot, "two")
        bench.workers[0].refuse = None
        bench.options["says"] = ()
        await pilot.press("enter")
        await settle(pilot)
        assert load_settings().context_end == "drop"
        assert roles(app) == ["user", "assistant"] * 2
        assert [one.drop_oldest for one in asked_of(bench)] == [False, False, True]
        assert asked_of(bench)[-1].messages[-1].content == "two"
        # No question comes again, here or in another conversation.
        await send(pilot, "/new")
        bench.workers[0].refuse = FULL
        await send(pilot, "much too long")
        assert "9000 tokens" in status_of(app)


async def test_an_answer_that_filled_the_context_is_given_again_and_later_ones_begin_there(
    bench: AppBench,
) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "one")
        bench.workers[0].hold = True
        await send(pilot, "two")
        bench.workers[0].say(answered("context"))
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        bench.workers[0].say(answered(dropped_n=2))
        await settle(pilot)
        assert "the 2 oldest messages were left out" in status_of(app)
        assert chat_of(app).transcript.conversation.seen() == Seen(2)
        [mark] = app.screen.query(CutMark)
        turns = list(app.screen.query("#transcript > *"))
        assert turns.index(mark) == len(turns) - 3
        bench.workers[0].hold = False
        await send(pilot, "three")
        begun = "".join(piece.text for piece in ANSWER[:2])
        assert [one.content for one in asked_of(bench)[-1].messages] == ["two", begun, "three"]
        kept = chat_of(app).pane.store.newest()
        assert kept is not None and [one.content for one in kept.messages if one.role == "user"] == [
            "one",
            "two",
            "three",
        ]


async def test_the_oldest_turns_are_summarized_by_the_model_itself(bench: AppBench, picture: Picture) -> None:
    async with bench.run(size=SMALL, settings=AppSettings(context_end="summarize")) as (app, pilot):
        await send(pilot, "one")
        await send(pilot, "two")
        bench.workers[0].refuse = None
        chat_of(app).transcript.conversation = filled(chat_of(app).transcript.conversation)
        bench.workers[0].hold = True
        await send(pilot, "three")
        asked = asked_of(bench)[-1]
        assert "Summarize our conversation" in asked.messages[-1].content
        assert [one.content for one in asked.messages[:-1]] == ["one", TEXT]
        assert "the model summarizes the 2 oldest messages" in status_of(app)
        bench.workers[0].hold = False
        bench.workers[0].say(answered())
        await settle(pilot)
        summary = "".join(piece.text for piece in ANSWER[:2]).strip()
        first = asked_of(bench)[-1].messages[0].content
        assert first == f"(What was said before, in short: {summary})\n\ntwo"
        assert chat_of(app).transcript.conversation.seen() == Seen(2, summary)
        assert roles(app) == ["user", "assistant"] * 3
        [mark] = app.screen.query(CutMark)
        assert mark.query_one(Collapsible).title == "of the 2 messages above the model sees a summary"
        chat_of(app).prompt.put("")
        chat_of(app).transcript.scroll_home(animate=False)
        mark.scroll_visible(animate=False)
        await picture(pilot)


def filled(chat: Conversation) -> Conversation:
    """The same, whose last answer has left no room for another."""
    return replace(chat, messages=(*chat.messages[:-1], replace(chat.messages[-1], context_n=4000)))


async def test_a_summary_that_is_stopped_gives_the_message_back(bench: AppBench) -> None:
    async with bench.run(settings=AppSettings(context_end="summarize")) as (app, pilot):
        await send(pilot, "one")
        chat_of(app).transcript.conversation = filled(chat_of(app).transcript.conversation)
        bench.workers[0].hold = True
        await send(pilot, "two")
        await pilot.press("escape")
        await settle(pilot)
        assert chat_of(app).prompt.text == "two"
        assert roles(app) == ["user", "assistant"]
        assert len(asked_of(bench)) == 2


async def test_who_wants_nothing_left_out_is_told_the_way_out(bench: AppBench) -> None:
    async with bench.run(settings=AppSettings(context_end="stop")) as (app, pilot):
        await send(pilot, "one")
        bench.workers[0].refuse = FULL
        await send(pilot, "two")
        assert "/new begins another conversation" in status_of(app)
        assert chat_of(app).prompt.text == "two"


def test_a_summary_stands_for_half_of_what_was_said() -> None:
    chat = conversation("one", "two", "three", "four").add(Message("user", "five"))
    shortening = plan_summary(chat, Seen(), 4096)
    assert shortening is not None
    assert shortening.n_messages == 4
    again = plan_summary(chat, Seen(4, "in short"), 4096)
    assert again is not None
    assert again.n_messages == 6
    assert again.request.messages[0].content == "(What was said before, in short: in short)\n\nthree"
    assert plan_summary(Conversation.begin().add(Message("user", "five")), Seen(), 4096) is None


@pytest.mark.parametrize(("used", "needed"), [(0, False), (2900, False), (3200, True)])
def test_room_is_made_before_the_end(used: int, needed: bool) -> None:
    chat = Conversation.begin().add(Message("user", "one"))
    chat = chat.add(Message("assistant", "yes", context_n=used)).add(Message("user", "two"))
    assert needs_room(chat, 4096, 1024) is needed


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Seen(1), "the message above the model sees no more"),
        (Seen(4), "the 4 messages above the model sees no more"),
        (Seen(4, "short"), "of the 4 messages above the model sees a summary"),
    ],
)
def test_the_mark_says_what_the_model_sees(seen: Seen, words: str) -> None:
    assert describe_cut(seen) == words
