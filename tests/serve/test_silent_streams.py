"""Streams without news: a comment tells callers, and whoever is between, that somebody is there."""

import asyncio

import pytest
from starlette.types import Message

from edgespec.serve import exchange as exchanges
from edgespec.serve.answers import Answers
from edgespec.serve.exchange import OPENAI, Exchange
from edgespec.session.shared.asked import Ask, Wrote
from tests.serve.test_kept_memory import Nobody


async def test_a_silent_stream_gets_comments_until_there_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "_PING_S", 0.02)
    answers, news = Answers(Nobody(), [Ask(1, "x")]), Wrote(1, 0, text="A heron.")
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        if len(sent) == 4:
            answers.put(news)

    async def receive() -> Message:
        raise AssertionError("nothing more is read")

    exchange = Exchange({"type": "http", "headers": []}, receive, send, OPENAI)
    await exchange.begin_stream()
    with exchange.kept_awake(answers):
        async with asyncio.timeout(60):
            assert await exchange.next_of(answers) == [news]
    assert sent == [b"", *[b": waiting\n\n"] * 3]
    # Its timer has ended with the block.
    await asyncio.sleep(0.1)
    answers.put(news)
    assert await answers.next() == [news]
