"""Engines that say nothing any more: stopped, or at a round that does not end; and others that are only slow."""

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.cli.processes import needs_signals
from tests.serve.served import LIMIT_S, Json, Server, wait_for

TEXT, CHAT = "/v1/completions", "/v1/chat/completions"
LONG = {"prompt": "once", "max_tokens": 450}
IMPATIENT = "tests.serve.impatient_server"
pytestmark = needs_signals


@pytest.fixture
def server(start: Callable[..., Server], tiny_model: Path) -> Server:
    return start(tiny_model, "--draft", "none", "-t", "1", module=IMPATIENT).wait_ready()


def test_callers_of_an_engine_that_was_stopped_get_an_error_and_the_next_one_an_answer(
    server: Server,
) -> None:
    wanted = server.ask(TEXT, {**LONG, "max_tokens": 4}).json["choices"][0]["text"]
    (engine,) = server.engines()
    with ThreadPoolExecutor(1) as callers, server.streaming(TEXT, LONG) as events:
        next(events)
        engine.send_signal(signal.SIGSTOP)
        waiting = callers.submit(server.ask, TEXT, LONG)
        *_, last = events
        reply = waiting.result()
    assert last["error"]["code"] == "engine_silent"
    assert (reply.status, reply.error["code"]) == (503, "engine_silent")
    assert "has said nothing for" in reply.error["message"]
    assert int(reply.headers["retry-after"]) >= 1
    assert not psutil.wait_procs([engine], timeout=LIMIT_S)[1]
    again = server.ask(TEXT, {**LONG, "max_tokens": 4})
    assert again.json["choices"][0]["text"] == wanted
    (another,) = server.engines()
    assert another.pid != engine.pid


def test_an_idle_engine_that_was_stopped_is_noticed_when_somebody_asks(server: Server) -> None:
    (engine,) = server.engines()
    engine.send_signal(signal.SIGSTOP)
    assert server.ask("/tokenize", {"content": "once"}).status == 503
    assert server.ask("/tokenize", {"content": "once"}).status == 200


def test_an_engine_that_loads_for_long_is_waited_for_and_one_that_is_stopped_meanwhile_is_not(
    start: Callable[..., Server], script_file: Path
) -> None:
    start(script_file, module=IMPATIENT, SCRIPT="1", SCRIPT_LOADS_S="6").wait_ready()
    server = start(script_file, module=IMPATIENT, SCRIPT="1", SCRIPT_LOADS_S="600")
    wait_for(lambda: len(server.engines()) == 1)
    (engine,) = server.engines()
    engine.send_signal(signal.SIGSTOP)
    assert server.process.wait(timeout=LIMIT_S) == 1
    assert any("the engine has said nothing for" in line for line in iter(server.read_line, ""))
    assert not psutil.wait_procs([engine], timeout=LIMIT_S)[1]


def asking(word: str, max_tokens: int) -> Json:
    return {"messages": [{"role": "user", "content": word}], "max_tokens": max_tokens}


def test_a_round_that_does_not_end_is_given_up_and_one_that_is_only_slow_is_not(
    start: Callable[..., Server], script_file: Path
) -> None:
    server = start(script_file, module=IMPATIENT, SCRIPT="1").wait_ready()
    assert server.ask(CHAT, asking("dawdle", 2)).status == 200
    (engine,) = server.engines()
    reply = server.ask(CHAT, asking("hang", 3))
    assert (reply.status, reply.error["code"]) == (503, "engine_silent")
    assert "has been at one round for" in reply.error["message"]
    assert server.ask(CHAT, asking("one", 3)).status == 200
    assert engine.pid not in {one.pid for one in server.engines()}
