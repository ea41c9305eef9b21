"""The chat screen, key by key, on a scripted engine."""

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Markdown, Static, TextArea

from edgespec.decode.policy import Mode
from edgespec.decode.token import DraftSource
from edgespec.worker.protocol import (
    Answer,
    Answered,
    ChangeDraft,
    ChangeMode,
    OpenPair,
    Piece,
    RequestFailed,
    Stop,
)
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import ANSWER, finished_stats, tokens
from tui.app import EdgespecApp
from tui.chat.conversation import Message
from tui.chat.screen import ChatScreen
from tui.chat.turn import AnswerTurn, UserTurn
from tui.common.ask import AskScreen, ChooseScreen, TextScreen
from tui.common.stream_text import StreamText
from tui.services.launch import Launch
from tui.services.settings import AppSettings

TEXT = "".join(piece.text for piece in ANSWER)


def chat_of(app: EdgespecApp) -> ChatScreen:
    screen = app.screen
    assert isinstance(screen, ChatScreen)
    return screen


def status_of(app: EdgespecApp) -> str:
    return str(chat_of(app).query_one("#status", Static).content)


def roles(app: EdgespecApp) -> list[str]:
    return [message.role for message in chat_of(app).transcript.conversation.messages]


async def send(pilot: Pilot[int], text: str) -> None:
    pilot.app.screen.query_one("#prompt", TextArea).load_text(text)
    await pilot.press("enter")
    await settle(pilot)


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
        assert "1.60x vanilla (estimated)" in answer.receipt.text
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
        pane.ask("too late")
    assert len(requests) == n_requests
    assert [saved.title for saved in pane.store.summaries()] == ["too late"]


async def test_a_second_message_waits_for_the_first_answer(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "one")
        await send(pilot, "two")
        assert roles(app) == ["user"]
        assert "Esc stops" in status_of(app)
        assert chat_of(app).prompt.text == "two"


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


async def test_the_tint_shows_who_thought_of_each_token(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        await pilot.press("ctrl+t")
        await settle(pilot)
        turn = chat_of(app).query_one(AnswerTurn)
        assert turn.query_one(StreamText).display
        assert turn.query_one(StreamText).text == TEXT
        assert not turn.query_one(Markdown).display
        await pilot.press("ctrl+t")
        await settle(pilot)
        assert turn.query_one(Markdown).display


async def test_regenerate_asks_the_same_again(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        await pilot.press("ctrl+r")
        await settle(pilot)
        asked = [request for request in bench.workers[0].requests if isinstance(request, Answer)]
        assert asked[0] == asked[1]
        assert roles(app) == ["user", "assistant"]
        assert len(app.screen.query(AnswerTurn)) == 1


async def test_edit_takes_the_last_message_back(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "first")
        await send(pilot, "second")
        await pilot.press("ctrl+up")
        await settle(pilot)
        assert roles(app) == ["user", "assistant"]
        assert chat_of(app).prompt.text == "second"
        assert len(app.screen.query(UserTurn)) == 1


async def test_up_and_down_go_through_the_history(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "first")
        await send(pilot, "second")
        prompt = chat_of(app).prompt
        await pilot.press(*"new", "up")
        assert prompt.text == "second"
        await pilot.press("up")
        assert prompt.text == "first"
        await pilot.press("down", "down")
        assert prompt.text == "new"


async def test_ctrl_j_begins_a_line(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("a", "ctrl+j", "b", "enter")
        await settle(pilot)
        assert chat_of(app).transcript.conversation.messages[0].content == "a\nb"


async def test_saved_conversations_reopen(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "about apples")
        await pilot.press("ctrl+n")
        await settle(pilot)
        assert roles(app) == []
        await send(pilot, "about pears")
        await pilot.press("ctrl+o")
        await settle(pilot)
        assert isinstance(app.screen, ChooseScreen)
        app.screen.query_one(Input).value = "apples"
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert chat_of(app).transcript.conversation.messages[0].content == "about apples"
        assert len(app.screen.query(AnswerTurn)) == 1


async def test_continue_reopens_the_newest(bench: AppBench) -> None:
    async with bench.run() as (_, pilot):
        await send(pilot, "remember me")
    again = bench.make(Launch(resume_last=True))
    async with again.run_test(size=LARGE) as pilot:
        await settle(pilot)
        assert chat_of(again).transcript.conversation.messages[0].content == "remember me"


async def test_clear_asks_first(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        await pilot.press("ctrl+l")
        await settle(pilot)
        assert isinstance(app.screen, AskScreen)
        await pilot.press("n")
        await settle(pilot)
        assert roles(app) == ["user", "assistant"]
        await pilot.press("ctrl+l")
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
        assert roles(app) == []
        assert chat_of(app).pane.store.summaries() == []


async def test_the_system_prompt_is_changed_in_a_dialog(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("f10")
        await settle(pilot)
        assert isinstance(app.screen, TextScreen)
        await pilot.press(*"Be kind.", "ctrl+s")
        await settle(pilot)
        await send(pilot, "hello")
        asked = [request for request in bench.workers[0].requests if isinstance(request, Answer)]
        assert asked[0].messages[0].content == "Be kind."


async def test_the_draft_is_chosen_from_a_list(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("f9")
        await settle(pilot)
        assert isinstance(app.screen, ChooseScreen)
        await pilot.press("down", "down", "enter")
        await settle(pilot)
        assert bench.workers[0].requests[-1] == ChangeDraft("ngram")
        assert "no draft model" in status_of(app)


async def test_the_last_answer_is_copied(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("f11")
        assert "no answer to copy" in status_of(app)
        await send(pilot, "hello")
        await pilot.press("f11")
        await settle(pilot)
        assert app.clipboard == TEXT


async def test_export_writes_markdown_and_never_over_a_file(bench: AppBench, tmp_path: Path) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        await send(pilot, f"/export {tmp_path / 'chat.md'}")
        text = (tmp_path / "chat.md").read_text()
        assert "## You\n\nhello" in text
        assert TEXT.strip() in text
        await send(pilot, f"/export {tmp_path / 'chat.md'}")
        assert "exists" in status_of(app)
        assert (tmp_path / "chat.md").read_text() == text
        await pilot.press("f12")
        await settle(pilot)
        assert len(list(tmp_path.glob("chat-*.md"))) == 1


async def test_an_editor_writes_the_message(
    bench: AppBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor.py"
    editor.write_text("import sys; open(sys.argv[1], 'a').write(' and more\\n')\n")
    async with bench.run() as (app, pilot):
        await pilot.press("ctrl+g")
        assert "set EDITOR" in status_of(app)
        monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
        monkeypatch.setattr(EdgespecApp, "suspend", lambda _app: nullcontext())
        await pilot.press(*"this", "ctrl+g")
        await settle(pilot)
        assert chat_of(app).prompt.text == "this and more"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/nonsense", "there is no command /nonsense"),
        ("/regen", "did you mean /regenerate?"),
        ("/new now", "/new takes nothing after it"),
        ("/mode sideways", "it takes off, model, ngram or auto"),
    ],
)
async def test_a_wrong_command_says_what_is_right(line: str, said: str, bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, line)
        assert said in status_of(app)
        assert roles(app) == []


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("/mode off", ChangeMode(Mode.OFF)),
        ("/draft other-draft", ChangeDraft("other-draft")),
        ("/draft none", ChangeDraft("none")),
    ],
)
async def test_a_command_does_what_the_key_does(line: str, request_: object, bench: AppBench) -> None:
    async with bench.run() as (_, pilot):
        await send(pilot, line)
        assert bench.workers[0].requests[-1] == request_


async def test_another_target_gets_a_new_engine(bench: AppBench) -> None:
    async with bench.run(Launch(draft="old-draft")) as (_, pilot):
        await send(pilot, "/model other")
        assert bench.workers[0].closed
        opened = bench.workers[1].requests[0]
        assert isinstance(opened, OpenPair)
        assert (opened.target, opened.draft) == ("other", "auto")


async def test_tab_completes_a_command(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press(*"/reg")
        await settle(pilot)
        assert "Answer the last message again" in status_of(app)
        await pilot.press("tab")
        assert chat_of(app).prompt.text == "/regenerate "


async def test_a_slash_that_is_none_can_be_asked(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "//help me")
        await send(pilot, "/usr/bin is what?")
        assert [m.content for m in chat_of(app).transcript.conversation.messages if m.role == "user"] == [
            "/help me",
            "/usr/bin is what?",
        ]


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


async def test_a_long_answer_says_that_it_was_cut(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].say(Answered(replace(finished_stats(), stopped="length"), 1))
        await settle(pilot)
        assert "longest length" in status_of(app)
        assert not chat_of(app).transcript.conversation.messages[-1].stopped


@pytest.mark.parametrize("yes", [True, False])
async def test_an_answer_that_filled_the_context_can_be_given_again_without_the_oldest_turns(
    bench: AppBench, yes: bool
) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "one")
        bench.workers[0].hold = True
        await send(pilot, "two")
        bench.workers[0].say(Answered(finished_stats("context"), 1))
        await settle(pilot)
        assert isinstance(app.screen, AskScreen)
        await pilot.press("y" if yes else "n")
        await settle(pilot)
        asked = [request for request in bench.workers[0].requests if isinstance(request, Answer)]
        assert [one.drop_oldest for one in asked] == [False, False, True][: 2 + yes]
        if not yes:
            assert "the context is full" in status_of(app)
            assert roles(app) == ["user", "assistant"] * 2
            return
        assert asked[2].messages == asked[1].messages
        bench.workers[0].say(Answered(replace(finished_stats(), dropped_n=2), 1))
        await settle(pilot)
        assert "the 2 oldest messages were left out" in status_of(app)
        # From now on they are not asked again, and no question comes.
        await send(pilot, "three")
        asked = [request for request in bench.workers[0].requests if isinstance(request, Answer)]
        assert asked[-1].messages[0].content == "two"
        assert asked[-1].drop_oldest


async def test_a_conversation_that_does_not_fit_can_go_on_without_its_oldest_turns(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "one")
        bench.workers[0].refuse = RequestFailed("the prompt has 9000 tokens", context_full=True)
        await send(pilot, "two")
        assert isinstance(app.screen, AskScreen)
        bench.workers[0].refuse = None
        await pilot.press("y")
        await settle(pilot)
        assert roles(app) == ["user", "assistant"] * 2
        asked = [request for request in bench.workers[0].requests if isinstance(request, Answer)]
        assert [one.drop_oldest for one in asked] == [False, False, True]
        assert asked[-1].messages[-1].content == "two"


async def test_a_first_question_that_is_too_long_only_gives_the_reason(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        bench.workers[0].refuse = RequestFailed("the prompt has 9000 tokens", context_full=True)
        await send(pilot, "much too long")
        assert not isinstance(app.screen, AskScreen)
        assert "9000 tokens" in status_of(app)
        assert chat_of(app).prompt.text == "much too long"


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
        block = turn.query_one(StreamText) if tinted else turn.query("MarkdownParagraph").first()
        await pilot.mouse_down(block, offset=(2, 0))
        await pilot.hover(block, offset=(11, 0))
        await pilot.mouse_up(block, offset=(11, 0))
        await pilot.pause()
        selected = app.screen.get_selected_text() or ""
        assert selected.startswith("palindrome"[: len(selected)]) and len(selected) >= 9
        await pilot.press("ctrl+c")
        await settle(pilot)
        assert app.clipboard == selected
