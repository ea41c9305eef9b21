"""From a request to its answer, whole or streamed: what all protocols do alike."""

import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from edgespec import __version__
from edgespec.chat.infill import Infill
from edgespec.chat.messages import ChatMessage
from edgespec.serve.answers import Answers
from edgespec.serve.engine import Engine
from edgespec.serve.exchange import Event, Exchange
from edgespec.serve.fields import Fields
from edgespec.serve.result import Result
from edgespec.serve.service import Service
from edgespec.serve.wishes import TextBias
from edgespec.session.shared.asked import Ask, Tokenize, Told

prompts_log = logging.getLogger("edgespec.serve.prompts")
"""Only written to where that is asked for, and then whatever else is told."""
prompts_log.setLevel(logging.INFO)

FINGERPRINT = f"edgespec-{__version__}"


class Writer(Protocol):
    """Says what came of a request as its protocol has it."""

    def whole(self, result: Result) -> object:
        """All at once."""

    def begin(self, result: Result) -> list[Event]:
        """The first events of a stream; the prompt has been read."""

    def more(self, told: Told, result: Result) -> list[Event]:
        """The events of what was told, which the result has already."""

    def end(self, result: Result) -> list[Event]:
        """The last events."""


async def answer(
    service: Service,
    exchange: Exchange,
    engine: Engine,
    asks: Sequence[Ask],
    writer: Writer,
    *,
    streams: bool,
) -> None:
    """Asks an engine and sends what comes of it.

    Raises:
        ApiError: the request is refused, or its engine ends.
    """
    if service.logs_prompts:
        for ask in asks:
            prompts_log.info("%s", _shown(ask.prompt))
    answers = engine.ask(*(replace(ask, in_pieces=streams) for ask in asks))
    try:
        result = Result(answers)
        if streams:
            await _stream(exchange, answers, result, writer)
        else:
            while not result.is_whole:
                for one in await exchange.next_of(answers):
                    result.add(one)
            await exchange.reply(writer.whole(result))
    finally:
        answers.cancel()


async def _stream(exchange: Exchange, answers: Answers, result: Result, writer: Writer) -> None:
    told = await exchange.next_of(answers)
    await exchange.begin_stream()
    events: list[Event] = []
    has_begun = False
    with exchange.kept_awake(answers):
        while True:
            for one in told:
                result.add(one)
                if not has_begun:
                    events += writer.begin(result)
                    has_begun = True
                events += writer.more(one, result)
            if result.is_whole:
                break
            await exchange.push(events)
            events = []
            told = await exchange.next_of(answers)
    await exchange.push([*events, *writer.end(result)])
    await exchange.end_stream()


def _shown(prompt: tuple[ChatMessage, ...] | str | tuple[int, ...] | Infill) -> str:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, Infill):
        return f"{prompt.prefix}{prompt.begun} ... {prompt.suffix}"
    shown = (f"{one.role}: {one.content}" if isinstance(one, ChatMessage) else str(one) for one in prompt)
    return " ".join(shown)


async def count_prompt(service: Service, fields: Fields, conversation: Tokenize) -> int:
    """Tokens of a conversation for the model that a request names.

    Raises:
        ApiError: there is no such model, or its engine refuses.
    """
    async with service.engine_for(fields) as (engine, _):
        return len((await engine.tokenize(conversation)).tokens)


async def with_text_bias(engine: Engine, ask: Ask, biases: Sequence[TextBias]) -> Ask:
    """An ask whose biases of texts are biases of their tokens.

    Raises:
        ApiError: the engine ends.
    """
    found = list(ask.logit_bias)
    for one in biases:
        tokens = (await engine.tokenize(Tokenize(0, one.text))).tokens
        found += [(token, one.bias) for token in tokens]
    return replace(ask, logit_bias=tuple(found))


def new_id(prefix: str) -> str:
    """A name that nothing else has."""
    return f"{prefix}{secrets.token_hex(12)}"


def now_s() -> int:
    """Seconds since 1970."""
    return int(time.time())
