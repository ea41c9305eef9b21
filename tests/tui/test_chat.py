"""The chat screen, key by key, on a scripted engine."""

from collections.abc import Callable

import pytest
from textual.widgets import Markdown, Static

from tests.tui.conftest import LARGE, SMALL, AppBench, settle
from tests.tui.scripted import ANSWER
from tui.app import EdgespecApp
from tui.screens.chat import ChatScreen
from tui.widgets.stream_text import StreamText
from tui.widgets.turn import AnswerTurn

TEXT = "".join(piece.text for piece in ANSWER)


def chat_of(app: EdgespecApp) -> ChatScreen:
    screen = app.screen
    assert isinstance(screen, ChatScreen)
    return screen


def status_of(app: EdgespecApp) -> str:
    return str(chat_of(app).query_one("#status", Static).content)


async def test_an_answer_streams_and_is_kept_with_its_receipt(bench: AppBench) -> None:
    app = bench.make()
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await pilot.press(*"hello", "enter")
        await settle(pilot)
        chat = chat_of(app)
        assert [message.role for message in chat.conversation.messages] == ["user", "assistant"]
        answer = chat.conversation.messages[1]
        assert answer.content == TEXT
        assert answer.receipt is not None
        assert "20.0 tok/s" in answer.receipt.text
        assert "1.60x vanilla (estimated)" in answer.receipt.text
        assert "80% accepted" in answer.receipt.text
        turn = chat.query_one(AnswerTurn)
        assert turn.query_one(Markdown).display
        assert not turn.query_one(StreamText).display
        assert [chat.title for chat in chat.store.load_all()] == ["hello"]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_chat_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, picture: Callable[[EdgespecApp], None]
) -> None:
    app = bench.make()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press(*"What is a palindrome?", "enter")
        await settle(pilot)
        await pilot.press(*"/mo")
        await settle(pilot)
        chat_of(app).rail.display = False  # processor and memory differ between machines
        await settle(pilot)
        picture(app)
