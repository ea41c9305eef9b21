"""The whole server on tiny models: the command, its engine process, and what callers get."""

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from edgespec.catalog.model_file import open_file
from edgespec.llama.sampler import Sampling
from edgespec.session import open_pair
from edgespec.session.settings import EngineSettings
from tests.serve.served import Json, Server, wait_for

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ENGINE = ("-t", "1")


@pytest.fixture(scope="module")
def server(tiny_model: Path, tiny_draft: Path):
    one = Server(tiny_model, "--draft", tiny_draft, *ENGINE, "-np", "4")
    yield one.wait_ready()
    one.close()


def asking(text: str = "once upon a time", **fields: Json) -> Json:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 24, **fields}


def test_an_answer_is_that_of_a_session_whole_and_streamed(
    server: Server, tiny_model: Path, tiny_draft: Path
) -> None:
    with open_pair(tiny_model, tiny_draft, settings=EngineSettings(n_threads=1), offline=True) as session:
        wanted = "".join(token.text for token in session.stream("once upon a time", max_tokens=24))
    body = server.ask(CHAT, asking()).json
    assert body["choices"][0]["message"]["content"] == wanted
    assert body["usage"]["completion_tokens"] == 24
    assert body["timings"]["draft_n"] > 0
    assert body["timings"]["speculation"]
    events = server.stream(CHAT, asking())[:-1]
    streamed = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert streamed == wanted


def test_many_callers_get_what_each_would_get_alone(server: Server) -> None:
    prompts = [f"story number {number} of {number * 7}" for number in range(8)]
    alone = [server.ask(TEXT, {"prompt": one, "max_tokens": 20}).json["choices"][0]["text"] for one in prompts]
    with ThreadPoolExecutor(8) as callers:
        together = list(
            callers.map(
                lambda one: server.ask(TEXT, {"prompt": one, "max_tokens": 20}).json["choices"][0]["text"],
                prompts,
            )
        )
    assert together == alone
    wait_for(lambda: server.processing_n() == 0)
