"""What is asked of a model's tokenizer and template alone: `/tokenize`, `/detokenize`, `/apply-template`."""

from dataclasses import replace

from edgespec.serve.chat import read_conversation
from edgespec.serve.errors import invalid
from edgespec.serve.exchange import Exchange
from edgespec.serve.service import Service
from edgespec.session.shared.asked import Tokenize


async def tokenize(service: Service, exchange: Exchange) -> None:
    """The tokens of a text."""
    fields = exchange.fields
    question = Tokenize(
        0,
        fields.needed_text("content"),
        add_special=fields.flag("add_special"),
        parse_special=fields.flag("parse_special", True),
    )
    with_pieces = fields.flag("with_pieces")
    async with service.engine_for(fields) as (engine, _):
        told = await engine.tokenize(question)
    if not with_pieces:
        await exchange.reply({"tokens": list(told.tokens)})
        return
    pairs = zip(told.tokens, told.pieces, strict=True)
    await exchange.reply({"tokens": [{"id": token, "piece": _piece(data)} for token, data in pairs]})


def _piece(data: bytes) -> str | list[int]:
    """A text, or the bytes of a part of a character."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


async def detokenize(service: Service, exchange: Exchange) -> None:
    """The text of tokens."""
    fields = exchange.fields
    value = fields.values.get("tokens")
    if value is None:
        raise fields.missing("tokens")
    if not isinstance(value, list) or not all(
        isinstance(one, int) and not isinstance(one, bool) for one in value
    ):
        raise fields.wrong("tokens", "an array of whole numbers")
    if any(not 0 <= one < 2**31 for one in value):
        raise invalid("tokens", "holds a number that is no token")
    async with service.engine_for(fields) as (engine, _):
        told = await engine.detokenize(tuple(value))
    await exchange.reply({"content": told.text})


async def apply_template(service: Service, exchange: Exchange) -> None:
    """A conversation as the model reads it."""
    fields = exchange.fields
    question = read_conversation(fields)
    if not fields.flag("add_generation_prompt", True):
        variables = {**question.template_variables, "add_generation_prompt": False}
        question = replace(question, template_variables=variables)
    async with service.engine_for(fields) as (engine, _):
        told = await engine.tokenize(question)
    await exchange.reply({"prompt": told.text})
