"""The chat screen, key by key, on a scripted engine."""

import pytest
from textual.widgets import Markdown, Static, TextArea

from edgespec.decode.policy import Mode
from edgespec.decode.token import DraftSource
from edgespec.worker.protocol import (
    Answer,
    ChangeMode,
    Piece,
    RequestFailed,
    Stop,
)
from tests.tui.chat_script import TEXT, chat_of, roles, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import ANSWER, tokens
from tui.chat.conversation import Message
from tui.chat.screen import ChatScreen
from tui.chat.turn import AnswerTurn
from tui.common.stream_text import StreamText
from tui.services.launch import Launch
from tui.services.settings import AppSettings


async def test_an_answer_streams_and_is_kept_with_its_receipt(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press(*"hello", "enter")
        await settle(pilot)
        chat = chat_of(app)
        assert roles(app) == ["user", "assistant"]
        answer = chat.transcript.conversation.messages[1]
        assert answer.content == TEXT
        assert answer.receipt is not None
        assert "20.0 tok/s" in answer.receipt.text
        assert "1.60x plain (estimated)" in answer.receipt.text
        assert "80% accepted" in answer.receipt.text
        turn = chat.query_one(AnswerTurn)
        assert turn.query_one(Markdown).display
        assert not turn.query_one(StreamText).display
        assert [saved.title for saved in chat.pane.store.summaries()] == ["hello"]


async def test_the_whole_conversation_and_the_system_prompt_are_sent(bench: AppBench) -> None:
    async with bench.run(Launch(system="Be brief.", max_tokens=77), size=SMALL) as (_, pilot):
        await send(pilot, "one")
        await send(pilot, "two")
        asked = [request for request in bench.workers[0].requests if isinstance(request, Answer)]
        assert [(m.role, m.content) for m in asked[1].messages] == [
            ("system", "Be brief."),
            ("user", "one"),
            ("assistant", TEXT),
            ("user", "two"),
        ]
        assert asked[1].max_tokens == 77


async def test_escape_stops_an_answer_and_keeps_what_came(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        assert "answering" in status_of(app)
        await pilot.press("escape")
        await settle(pilot)
        assert Stop() in bench.workers[0].requests
        answer = chat_of(app).transcript.conversation.messages[-1]
        assert answer.stopped
        assert answer.content == "".join(piece.text for piece in ANSWER[:2])
        assert "stopped" in str(chat_of(app).query_one(".receipt", Static).content)
        assert isinstance(app.focused, TextArea)


async def test_the_app_is_left_while_an_answer_is_rendered(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        turn = chat_of(app).query_one(AnswerTurn)
        turn.call_later(turn.finish, Message("assistant", TEXT, ANSWER))
        app.exit(0)
    assert app.return_code == 0


async def test_what_is_asked_while_the_app_is_left_is_kept(bench: AppBench) -> None:
    async with bench.run() as (app, _):
        pane, requests = chat_of(app).pane, bench.workers[0].requests
        n_requests = len(requests)
        app.exit(0)
        pane.sending.ask("too late")
    assert len(requests) == n_requests
    assert [saved.title for saved in pane.store.summaries()] == ["too late"]


async def test_what_cannot_be_answered_goes_back_into_the_prompt(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        worker = bench.workers[0]
        worker.hold = True
        chat_of(app).prompt.load_text("a very long prompt")
        await pilot.press("enter")
        worker.say(
            RequestFailed("the prompt has 9000 tokens and the context 4096", "use a larger --ctx-size")
        )
        await settle(pilot)
        # The scripted answer had begun: it is kept as stopped, and the message stays.
        assert roles(app) == ["user", "assistant"]
        assert "9000 tokens" in status_of(app)


async def test_a_target_that_is_not_there_gives_the_reason_and_the_message_back(bench: AppBench) -> None:
    async with bench.run(Launch(target="nonsense"), pair=None) as (app, pilot):
        assert "there is no model 'nonsense'" in status_of(app)
        await send(pilot, "hello")
        assert chat_of(app).prompt.text == "hello"
        assert roles(app) == []


async def test_ctrl_s_goes_through_the_modes(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        for wanted, said in (
            (Mode.MODEL, "draft model only"),
            (Mode.NGRAM, "n-grams only"),
            (Mode.OFF, "speculation off"),
            (Mode.AUTO, "speculation auto"),
        ):
            await pilot.press("ctrl+s")
            await settle(pilot)
            assert bench.workers[0].requests[-1] == ChangeMode(wanted)
            assert said in status_of(app)


async def test_a_dead_engine_leaves_the_conversation_and_restarts(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].die()
        await settle(pilot)
        answer = chat_of(app).transcript.conversation.messages[-1]
        assert answer.stopped
        assert answer.content
        assert "crashed (SIGABRT)" in status_of(app)
        assert "/restart" in status_of(app)
        bench.options["hold"] = False
        await send(pilot, "/restart")
        await send(pilot, "and now?")
        assert roles(app) == ["user", "assistant", "user", "assistant"]
        assert len(bench.workers) == 2


async def test_what_a_model_writes_can_neither_drive_the_terminal_nor_mark_up(bench: AppBench) -> None:
    app = bench.make(hold=True)
    evil = "\x1b[2J\x1b]0;owned\x07[bold]not bold[/bold] [@click=app.quit]no[/] \u202e"
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await send(pilot, "hello")
        bench.workers[0].say(tokens((Piece(evil, DraftSource.MODEL),), 30))
        await settle(pilot)
        bench.workers[0].send(Stop())
        await settle(pilot)
        for press in ("ctrl+t", "ctrl+t"):
            shown = app.export_screenshot()
            assert "\x1b" not in shown
            assert "\u202e" not in shown
            assert "[bold]not" in shown.replace("&#160;", " ")
            await pilot.press(press)
            await settle(pilot)


async def test_the_rail_hides_in_a_narrow_terminal(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        assert chat_of(app).rail.display
        await pilot.resize_terminal(*SMALL)
        await settle(pilot)
        assert not chat_of(app).rail.display
        await pilot.resize_terminal(*LARGE)
        await settle(pilot)
        await pilot.press("ctrl+b")
        await settle(pilot)
        assert not chat_of(app).rail.display
        assert not app.settings.show_rail


async def test_the_charts_do_without_colour(bench: AppBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        assert app.no_color
        assert chat_of(app).rail.display
        await pilot.resize_terminal(140, 50)
        await settle(pilot)
        assert roles(app) == ["user", "assistant"]


async def test_keys_can_be_remapped(bench: AppBench) -> None:
    async with bench.run(
        settings=AppSettings(keys={"chat.mode": "f4", "prompt.send": "ctrl+y", "app.bench": "f12"})
    ) as (app, pilot):
        await pilot.press("f4")
        await settle(pilot)
        assert bench.workers[0].requests[-1] == ChangeMode(Mode.MODEL)
        await pilot.press("h", "i", "ctrl+y")
        await settle(pilot)
        assert roles(app) == ["user", "assistant"]


async def test_every_action_is_in_the_palette(bench: AppBench) -> None:
    async with bench.run() as (app, _):
        titles = " ".join(command.title for command in app.get_system_commands(app.screen))
        for binding in ChatScreen.BINDINGS:
            assert binding.description in titles  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("tinted", [False, True], ids=["rendered", "tinted"])
async def test_the_chat_looks_as_it_did(
    tinted: bool, size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    async with bench.run(settings=AppSettings(tint_drafted=tinted), size=size) as (app, pilot):
        await send(pilot, "What is a palindrome?")
        # Processor and memory differ between machines.
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await settle(pilot)
        await picture(pilot)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_an_empty_chat_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    async with bench.run(size=size) as (app, pilot):
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await settle(pilot)
        await picture(pilot)


@pytest.mark.parametrize("tinted", [False, True], ids=["rendered", "tinted"])
async def test_text_can_be_selected_with_the_mouse_and_copied(tinted: bool, bench: AppBench) -> None:
    async with bench.run(settings=AppSettings(tint_drafted=tinted)) as (app, pilot):
        await send(pilot, "select me")
        turn = chat_of(app).query_one(AnswerTurn)
        block = turn.query("MarkdownParagraph").first()
        await pilot.mouse_down(block, offset=(2, 0))
        await pilot.hover(block, offset=(11, 0))
        await pilot.mouse_up(block, offset=(11, 0))
        await pilot.pause()
        selected = app.screen.get_selected_text() or ""
        assert selected.startswith("palindrome"[: len(selected)]) and len(selected) >= 9
        await pilot.press("ctrl+c")
        await settle(pilot)
        assert app.clipboard == selected
