"""An answer that was cut goes on in its turn."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Static

from edgespec.decode.token import DraftSource
from edgespec.paths import chats_dir
from edgespec.session.settings import EngineSettings
from edgespec.worker.protocol import Answer, Answered, Piece, RequestFailed
from tests.tiny import CHAT_TEMPLATE, make_tiny_model
from tests.tui.chat_script import TEXT, chat_of, roles, send, status_of
from tests.tui.conftest import LARGE, AppBench, settle
from tests.tui.scripted import ANSWER, finished_stats, tokens
from tui.app import EdgespecApp
from tui.chat.conversation import Message
from tui.chat.store import ChatStore
from tui.chat.turn import AnswerTurn
from tui.services.launch import Launch

BEGUN = "".join(piece.text for piece in ANSWER[:2])


@pytest.fixture
def store() -> ChatStore:
    """That of the app."""
    return ChatStore(chats_dir())


def last_of(app: EdgespecApp) -> Message:
    return chat_of(app).transcript.conversation.messages[-1]


async def test_a_stopped_answer_goes_on_and_takes_the_place_of_its_beginning(
    bench: AppBench, store: ChatStore
) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        await pilot.press("escape")
        await settle(pilot)
        assert "/continue goes on" in status_of(app)
        worker = bench.workers[0]
        worker.hold, worker._says = False, (tokens(ANSWER[2:], 20), Answered(finished_stats(), 1))
        await pilot.press("ctrl+down")
        await settle(pilot)
        asked = worker.requests[-1]
        assert isinstance(asked, Answer) and asked.continues and not asked.drop_oldest
        assert [(one.role, one.content) for one in asked.messages] == [
            ("user", "hello"),
            ("assistant", BEGUN),
        ]
        assert (last_of(app).content, last_of(app).pieces, last_of(app).is_cut) == (TEXT, ANSWER, False)
        assert len(app.screen.query(AnswerTurn)) == 1
        receipt = last_of(app).receipt
        assert receipt is not None and receipt.text.startswith("+41 tokens · ")
        await send(pilot, "/continue")
        assert "the last answer is complete" in status_of(app)
    kept = store.newest()
    assert kept is not None and kept.messages[-1].content == TEXT
    with closing(sqlite3.connect(store.database.file)) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (2,)


async def test_an_answer_at_its_longest_length_can_go_on_and_be_cut_again(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        for word in ("on", "and on"):
            bench.workers[0].say(Answered(replace(finished_stats(), stopped="length"), 1))
            await settle(pilot)
            assert last_of(app).is_cut and not last_of(app).stopped
            bench.workers[0]._says = (tokens((Piece(word, DraftSource.TARGET),), 20),)
            await send(pilot, "/continue")
        bench.workers[0].say(Answered(finished_stats(), 1))
        await settle(pilot)
        assert last_of(app).content == BEGUN + "onand on"
        assert roles(app) == ["user", "assistant"]


async def test_where_nothing_comes_the_answer_stays_as_it_was(bench: AppBench, store: ChatStore) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        await pilot.press("escape")
        await settle(pilot)
        before = last_of(app)
        bench.workers[0].refuse = RequestFailed("the engine is tired", "let it rest")
        await send(pilot, "/continue")
        assert "the engine is tired" in status_of(app)
        assert last_of(app) == before
        assert last_of(app).id == before.id
        assert "stopped" in str(app.screen.query(".receipt").last(Static).content)
        assert chat_of(app).prompt.text == ""
        kept = store.newest()
        assert kept is not None and kept.messages[-1] == before


async def test_an_engine_that_is_gone_is_loaded_first(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].die()
        await settle(pilot)
        assert last_of(app).is_cut
        bench.options["says"] = (tokens(ANSWER[2:], 20), Answered(finished_stats(), 1))
        await send(pilot, "/continue")
        asked = bench.workers[1].requests[-1]
        assert isinstance(asked, Answer) and asked.continues
        assert last_of(app).content == TEXT


async def test_an_engine_that_cannot_be_loaded_leaves_the_answer_and_its_question(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].die()
        await settle(pilot)
        bench.options["pair"] = None
        await send(pilot, "/continue")
        assert "there is no model" in status_of(app)
        assert roles(app) == ["user", "assistant"]
        assert chat_of(app).prompt.text == ""


async def test_there_is_nothing_to_go_on_with_before_there_is_an_answer(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "/continue")
        assert "nothing to continue" in status_of(app)


async def test_half_a_character_at_the_cut_is_no_part_of_it(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].say(tokens((Piece("caf\N{REPLACEMENT CHARACTER}", DraftSource.TARGET),), 22))
        await pilot.press("escape")
        await settle(pilot)
        bench.workers[0]._says = (
            tokens((Piece("\xe9", DraftSource.TARGET),), 1),
            Answered(finished_stats(), 1),
        )
        await send(pilot, "/continue")
        assert last_of(app).content == f"{BEGUN}caf\xe9"


async def test_a_real_engine_goes_on_as_if_it_had_not_been_cut(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "chat.gguf", chat_template=CHAT_TEMPLATE)

    async def answered(limit: int, times: int) -> str:
        launch = Launch(
            str(model), "none", max_tokens=limit, engine=EngineSettings(n_ctx=512, n_threads=1), offline=True
        )
        app = EdgespecApp(launch)
        async with app.run_test(size=LARGE) as pilot:
            for line in ("hello", *["/continue"] * (times - 1)):
                while not app.engine.is_ready:
                    await asyncio.sleep(0.01)
                await send(pilot, line)
                while not app.engine.is_ready or chat_of(app).transcript.is_answering:
                    await asyncio.sleep(0.01)
                await settle(pilot)
            return last_of(app).content

    whole, parts = await answered(24, 1), await answered(8, 3)
    length = min(len(whole), len(parts))
    assert length > 8
    assert whole[:length].rstrip("\N{REPLACEMENT CHARACTER}") == parts[:length].rstrip(
        "\N{REPLACEMENT CHARACTER}"
    )
