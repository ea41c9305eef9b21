"""The app on a real engine that dies: what it costs, and what is said of it."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from textual.pilot import Pilot
from textual.widgets import Static, TextArea

from edgespec.llama.rpc import parse_endpoints
from edgespec.session.settings import EngineSettings
from edgespec.worker.process import WorkerProcess
from tests.rpc_server import server
from tests.tui.conftest import LARGE
from tui.app import EdgespecApp
from tui.chat.screen import ChatScreen
from tui.chat.turn import AnswerTurn
from tui.services.launch import Launch
from tui.services.settings import AppSettings

LIMIT_S = 60.0
LONG = EngineSettings(n_ctx=16384, n_threads=1)
# Seconds of writing: an answer that a signal sent after its first words finds unfinished.
ENDLESS_TOKENS = 12_000
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals of another process are POSIX")


def status_of(app: EdgespecApp) -> str:
    return str(app.screen.query_one("#status", Static).content)


async def wait(pilot: Pilot[int], is_there: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not is_there():
            await pilot.pause(0.05)


def has_begun(chat: ChatScreen) -> bool:
    """Whether the first words of the first answer have come."""
    return bool(chat.query(AnswerTurn)) and bool(chat.query_one(AnswerTurn).content)


@posix_only
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT], ids=["killed", "aborted"])
async def test_an_engine_that_dies_in_mid_answer_costs_that_answer_alone(
    number: signal.Signals, tiny_model: Path
) -> None:
    app = EdgespecApp(
        Launch(target=str(tiny_model), draft="none", max_tokens=ENDLESS_TOKENS, engine=LONG, offline=True),
        AppSettings(),
    )
    async with app.run_test(size=LARGE) as pilot:
        await wait(pilot, lambda: app.engine.is_ready)
        chat = app.screen
        assert isinstance(chat, ChatScreen)
        chat.query_one("#prompt", TextArea).load_text("once upon a time")
        await pilot.press("enter")
        await wait(pilot, lambda: has_begun(chat))
        worker = app.engine._worker
        assert isinstance(worker, WorkerProcess) and worker.pid is not None
        os.kill(worker.pid, number)
        await wait(pilot, lambda: "/restart" in status_of(app))
        assert number.name in status_of(app)
        question, answer = chat.transcript.conversation.messages
        assert question.content == "once upon a time"
        assert answer.content and answer.stopped
        assert chat.pane.store.newest() == chat.transcript.conversation
        chat.query_one("#prompt", TextArea).load_text("/restart")
        await pilot.press("enter")
        await wait(pilot, lambda: app.engine.is_ready)
        app.launch = replace(app.launch, max_tokens=200)  # this answer is to end by itself
        chat.query_one("#prompt", TextArea).load_text("and then?")
        await pilot.press("enter")
        await wait(pilot, lambda: len(chat.transcript.conversation.messages) == 4)
        last = chat.transcript.conversation.messages[-1]
        assert last.content and last.receipt and not last.stopped
    assert worker.pid is not None and not psutil.pid_exists(worker.pid)


@posix_only
async def test_an_rpc_server_that_dies_costs_the_engine_and_its_absence_is_said(tiny_model: Path) -> None:
    with server() as (process, address):
        far = replace(LONG, rpc=parse_endpoints(address))
        launch = Launch(
            target=str(tiny_model), draft="none", max_tokens=ENDLESS_TOKENS, engine=far, offline=True
        )
        app = EdgespecApp(launch, AppSettings())
        async with app.run_test(size=LARGE) as pilot:
            await wait(pilot, lambda: app.engine.is_ready)
            assert "3 of 3 layers fit on RPC0" in status_of(app)
            chat = app.screen
            assert isinstance(chat, ChatScreen)
            chat.query_one("#prompt", TextArea).load_text("once upon a time")
            await pilot.press("enter")
            await wait(pilot, lambda: has_begun(chat))
            process.kill()
            await wait(pilot, lambda: "/restart" in status_of(app))
            assert len(chat.transcript.conversation.messages) == 2
            chat.query_one("#prompt", TextArea).load_text("/restart")
            await pilot.press("enter")
            await wait(pilot, lambda: f"no RPC server answers at {address}" in status_of(app))
