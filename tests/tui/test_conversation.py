"""What can be done with a conversation in the chat: answered again, edited, reopened, emptied, exported, cut."""

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.worker.protocol import (
    Answer,
    Answered,
    ChangeDraft,
    RequestFailed,
)
from tests.tui.chat_script import TEXT, chat_of, open_list, roles, send, status_of
from tests.tui.conftest import LARGE, AppBench, settle
from tests.tui.scripted import finished_stats
from tui.app import EdgespecApp
from tui.chat.screen import ChatScreen
from tui.chat.turn import AnswerTurn
from tui.common.ask import AskScreen, ChooseScreen, TextScreen
from tui.services.launch import Launch


async def test_regenerate_asks_the_same_again(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        await pilot.press("ctrl+r")
        await settle(pilot)
        asked = [request for request in bench.workers[0].requests if isinstance(request, Answer)]
        assert asked[0] == asked[1]
        assert roles(app) == ["user", "assistant"]
        assert len(app.screen.query(AnswerTurn)) == 1


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
        await open_list(pilot, "apples")
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
        await pilot.press("home", "enter")
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


async def test_a_long_answer_says_that_it_was_cut(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].say(Answered(replace(finished_stats(), stopped="length"), 1))
        await settle(pilot)
        assert "reached the longest length allowed" in status_of(app)
        assert not chat_of(app).transcript.conversation.messages[-1].stopped


async def test_a_first_question_that_is_too_long_only_gives_the_reason(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        bench.workers[0].refuse = RequestFailed("the prompt has 9000 tokens", context_full=True)
        await send(pilot, "much too long")
        assert isinstance(app.screen, ChatScreen)
        assert "9000 tokens" in status_of(app)
        assert chat_of(app).prompt.text == "much too long"
