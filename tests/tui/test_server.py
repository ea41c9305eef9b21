"""The app on a server, `edgespec chat --server`: answers as ever, unknown figures left unknown, and no engine here."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Input, Static

from edgespec.worker.protocol import PairOpened
from edgespec.worker.remote.address import parse_server
from tests.cli.processes import free_port
from tests.tui.chat_script import chat_of, roles, send, status_of
from tests.tui.conftest import LARGE, settle
from tests.tui.workshop_script import until
from tests.worker.foreign_server import (
    DONE,
    DRAFTED,
    LLAMA_PROPS,
    Foreign,
    Reply,
    chunk,
    refused,
    said,
    serving,
)
from tui.app import EdgespecApp
from tui.chat.receipt_line import ReceiptLine
from tui.chat.turn import AnswerTurn
from tui.common.status_line import StatusLine
from tui.models.model_table import ModelTable
from tui.services.engine_client import EngineState
from tui.services.launch import Launch, ScreenName


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    with serving(Foreign(replies=[said("Hel", "lo.")])) as one:
        yield one


def app_on(foreign: Foreign, screen: ScreenName = "chat") -> EdgespecApp:
    return EdgespecApp(Launch(server=parse_server(foreign.url), screen=screen))


def is_ready(app: EdgespecApp) -> bool:
    return app.engine.state is EngineState.READY


def receipt_of(app: EdgespecApp) -> str:
    turn = app.screen.query(AnswerTurn).last()
    return turn.query_one(ReceiptLine).details


async def test_an_answer_streams_and_what_the_server_does_not_tell_is_unknown(foreign: Foreign) -> None:
    app = app_on(foreign)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: is_ready(app))
        assert status_of(app) == f"foreign-1b · at {foreign.url} · context unknown"
        await send(pilot, "what is it")
        await until(pilot, lambda: is_ready(app) and roles(app) == ["user", "assistant"])
        answer = chat_of(app).transcript.conversation.messages[-1]
        assert (answer.content, answer.stopped) == ("Hello.", False)
        await until(pilot, lambda: receipt_of(app))
        figures, why = receipt_of(app).splitlines()
        assert figures.startswith("tokens unknown · speed unknown · TTFT 0.")
        assert figures.endswith(f" s · at {foreign.url}")
        assert why == "speculation unknown: the server gives no figures"
        assert "memory" in str(app.screen.query_one("#rail-memory", Static).content)


async def test_figures_that_it_tells_are_shown(foreign: Foreign) -> None:
    foreign.props = LLAMA_PROPS
    foreign.replies = [Reply([chunk("yes", timings=DRAFTED), chunk(end="stop", timings=DRAFTED), DONE])]
    app = app_on(foreign)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: is_ready(app))
        assert status_of(app).endswith("4096 tokens of context")
        await send(pilot, "what is it")
        await until(pilot, lambda: is_ready(app) and roles(app) == ["user", "assistant"] and receipt_of(app))
        assert receipt_of(app).startswith("21 tokens · 10.0 tok/s · 75% accepted (9/12) · TTFT 0.")
        assert receipt_of(app).endswith("speculation on: 9 of 12 tokens accepted")


async def test_escape_closes_the_stream_and_keeps_what_came(foreign: Foreign) -> None:
    foreign.replies = [Reply([chunk("so far")], then="hold")]
    app = app_on(foreign)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: is_ready(app))
        await send(pilot, "what is it")
        await until(
            pilot, lambda: app.screen.query(AnswerTurn) and app.screen.query(AnswerTurn).last().content
        )
        await pilot.press("escape")
        await until(pilot, lambda: roles(app) == ["user", "assistant"])
        answer = chat_of(app).transcript.conversation.messages[-1]
        assert (answer.content, answer.stopped) == ("so far", True)
        await until(pilot, foreign.left.is_set)


async def test_a_thought_is_folded_without_a_count(foreign: Foreign) -> None:
    thinks = [chunk(delta={"reasoning_content": "let me see"}), chunk("yes"), chunk(end="stop"), DONE]
    foreign.replies = [Reply(thinks)]
    app = app_on(foreign)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: is_ready(app))
        await send(pilot, "what is it")
        await until(pilot, lambda: is_ready(app) and roles(app) == ["user", "assistant"])
        answer = chat_of(app).transcript.conversation.messages[-1]
        assert (answer.thought, answer.content) == ("let me see", "yes")
        title = str(app.screen.query(AnswerTurn).last()._fold.title)
        assert title.startswith("thought · ")
        assert "tokens" not in title


async def test_nobody_there_says_so_and_the_message_is_not_lost() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    app = EdgespecApp(Launch(server=parse_server(url)))
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: app.engine.state is EngineState.CLOSED)
        assert status_of(app).startswith(f"nobody answers at {url} (")
        assert status_of(app).endswith("or check --server")
        await send(pilot, "what is it")
        await until(pilot, lambda: app.engine.state is EngineState.CLOSED and chat_of(app).prompt.text)
        assert chat_of(app).prompt.text == "what is it"


async def test_a_failure_in_one_answer_leaves_the_next_one_possible(foreign: Foreign) -> None:
    foreign.replies = [refused(500, {"message": "slot lost"}), said("yes")]
    app = app_on(foreign)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: is_ready(app))
        await send(pilot, "what is it")
        await until(pilot, lambda: "slot lost" in status_of(app))
        assert chat_of(app).prompt.text == "what is it"
        await pilot.press("enter")
        await until(pilot, lambda: is_ready(app) and roles(app) == ["user", "assistant"])


async def test_model_takes_another_model_of_the_server(foreign: Foreign) -> None:
    foreign.models = {"data": [{"id": "one"}, {"id": "two", "status": {"value": "loaded"}}]}
    app = app_on(foreign)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: is_ready(app))
        await send(pilot, "/model one")
        await until(pilot, lambda: app.engine.pair is not None and app.engine.pair.target == "one")
        await send(pilot, "/model three")
        await until(pilot, lambda: "no model 'three'" in status_of(app))


@pytest.mark.parametrize(
    ("typed", "what"),
    [
        ("/mode off", "another way of drafting"),
        ("/mode", "another way of drafting"),
        ("/draft none", "another draft"),
        ("/draft", "another draft"),
        ("/race", "a race"),
        ("/tint", "a tint of drafted tokens"),
    ],
)
async def test_what_needs_an_engine_here_says_so(foreign: Foreign, typed: str, what: str) -> None:
    app = app_on(foreign)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: is_ready(app))
        await send(pilot, typed)
        await until(pilot, lambda: "needs the models" in status_of(app))
        wanted = f"{what} needs the models on this machine, and {foreign.url} answers: start without --server"
        assert status_of(app) == wanted
        assert isinstance(app.engine.pair, PairOpened)


async def test_the_race_says_so_and_does_not_begin(foreign: Foreign) -> None:
    app = app_on(foreign, "race")
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        app.screen.query_one("#race-prompt", Input).focus()
        await pilot.press("enter")
        await settle(pilot)
        assert str(app.screen.query_one(StatusLine).content).startswith(
            "a race needs the models on this machine"
        )
    assert foreign.paths == []


async def test_a_model_of_this_machine_is_not_loaded_in_its_place(foreign: Foreign, tiny_model: Path) -> None:
    (Path.cwd() / "mine.gguf").write_bytes(tiny_model.read_bytes())
    app = app_on(foreign)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: is_ready(app))
        await pilot.press("f5")
        await until(pilot, lambda: app.screen.query(ModelTable) and app.screen.query_one(ModelTable).row)
        app.screen.query_one(ModelTable).focus()
        await pilot.press("enter")
        await until(pilot, lambda: "needs the models" in str(app.screen.query_one(StatusLine).content))
        assert app.engine.pair is not None
        assert app.engine.pair.server == foreign.url
