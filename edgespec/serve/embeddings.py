"""`/v1/embeddings` and `/embedding`: vectors of texts, in OpenAI's and llama-server's form."""

import base64
import sys
from array import array
from typing import Final

from edgespec.serve.engine import Engine
from edgespec.serve.errors import CONTEXT, ApiError, invalid
from edgespec.serve.exchange import Exchange
from edgespec.serve.fields import Fields, kind_of
from edgespec.serve.registry import Served
from edgespec.serve.service import Service
from edgespec.session.shared.asked import Embed, Embedded

MOST_TEXTS: Final = 2048
"""As of OpenAI."""
_FORMATS: Final = ("float", "base64")
_DIGITS: Final = ".9g"
"""Enough for every number of 32 bits; those of 64 would take twice as many."""


async def embeddings(service: Service, exchange: Exchange) -> None:
    """Vectors in OpenAI's form."""
    fields = exchange.fields
    if not fields.has("input") and fields.has("content"):
        # As llama-server has it.
        await native_embeddings(service, exchange)
        return
    encoding = fields.text("encoding_format") or "float"
    if encoding not in _FORMATS:
        raise invalid("encoding_format", f"is {encoding!r:.40}; it can be {' or '.join(_FORMATS)}")
    embed = read_embed(fields, "input")
    async with service.engine_for(fields) as (engine, served):
        told = await _ask(engine, served, embed, "input")
    await exchange.reply(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": place, "embedding": _written(vector, encoding)}
                for place, vector in enumerate(told.vectors)
            ],
            "model": served.id,
            "usage": {"prompt_tokens": told.prompt_n, "total_tokens": told.prompt_n},
        }
    )


async def native_embeddings(service: Service, exchange: Exchange) -> None:
    """Vectors in llama-server's own form: each in a list of one, where a model without pooling would have several."""
    fields = exchange.fields
    key = fields.any_of("input", "content") or "content"
    embed = read_embed(fields, key)
    async with service.engine_for(fields) as (engine, served):
        told = await _ask(engine, served, embed, key)
    await exchange.reply(
        [
            {"index": place, "embedding": [_written(vector, "float")]}
            for place, vector in enumerate(told.vectors)
        ]
    )


async def _ask(engine: Engine, served: Served, embed: Embed, key: str) -> Embedded:
    opened = engine.opened
    if opened is None or not opened.pooling or opened.ranks:
        does = "ranks texts (/v1/rerank)" if opened and opened.ranks else "writes text"
        said = f"{served.id} {does} and gives no embeddings; name an embedding model"
        raise ApiError(400, said, "model", "embeddings_not_supported")
    if embed.dimensions and embed.dimensions > opened.n_embd:
        raise invalid("dimensions", f"is {embed.dimensions}; vectors of {served.id} have {opened.n_embd}")
    try:
        return await engine.embed(embed)
    except ApiError as error:
        error.param = key if error.code == CONTEXT else error.param
        raise


def read_embed(fields: Fields, key: str) -> Embed:
    """What a request asks for.

    Args:
        fields: Of the request.
        key: Where its texts are.

    Raises:
        ApiError: names the field.
    """
    norm = fields.whole("embd_normalize", -1)
    return Embed(
        0,
        tuple(_read_texts(fields, key)),
        norm=2 if norm is None else norm,
        dimensions=fields.whole("dimensions", 1),
    )


def _read_texts(fields: Fields, key: str) -> list[str | tuple[int, ...]]:
    """A text, its tokens, or several of these."""
    value = fields.values.get(key)
    if value is None:
        raise fields.missing(key)
    if value == []:
        raise invalid(key, "is empty; it needs one text at least")
    if not isinstance(value, list) or all(_is_token(one) for one in value):
        return [_read_text(value, key)]
    if len(value) > MOST_TEXTS:
        raise invalid(key, f"has {len(value)} texts; the most are {MOST_TEXTS}")
    return [_read_text(one, f"{key}[{place}]") for place, one in enumerate(value)]


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _read_text(value: object, name: str) -> str | tuple[int, ...]:
    match value:
        case []:
            raise invalid(name, "is empty; leave it out")
        case str(text) | {"prompt_string": str(text)}:
            return text
        case list() if all(map(_is_token, value)):
            if any(not 0 <= token < 2**31 for token in value):
                raise invalid(name, "holds a number that is no token")
            return tuple(value)
    raise invalid(name, f"is {kind_of(value)}, not a text or an array of tokens")


def _written(vector: bytes, encoding: str) -> str | list[float]:
    if encoding == "base64":
        return base64.b64encode(vector).decode()
    return numbers_of(vector)


def numbers_of(vector: bytes) -> list[float]:
    """The numbers of a vector, the shortest ones that are read back as the same."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return [float(format(number, _DIGITS)) for number in numbers]
