"""How an answer is to be written: what the fields of OpenAI's and llama.cpp's requests say alike for chats and texts."""

import json
import re
import secrets
from dataclasses import dataclass
from typing import Final

from edgespec.chat.structure import Structure, StructureKind
from edgespec.errors import UsageError
from edgespec.llama.sampling_wish import SamplingWish
from edgespec.serve.errors import ApiError, invalid
from edgespec.serve.fields import Fields

MOST_CHOICES: Final = 128
"""As of OpenAI."""
_MOST_TEXTS: Final = 256
"""That end an answer, or whose tokens have a bias: the engine takes each apart by itself."""
_MOST_TOP: Final = 20
_MOST_DIGITS: Final = 18
"""Of a token's number."""
_SEEDS: Final = 2**32 - 1
_NUMBERS: Final = ("temperature", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty")
_WHOLE: Final = ("top_k", "repeat_last_n")
_FORBIDDEN: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class TextBias:
    """A bias of all tokens of a text, which the engine has to take apart first."""

    text: str
    bias: float


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of every answer."""

    sampling: SamplingWish
    max_tokens: int | None
    n_choices: int
    stops: tuple[str, ...]
    logit_bias: tuple[tuple[int, float], ...]
    text_bias: tuple[TextBias, ...]
    ignore_end: bool


def read_wishes(fields: Fields) -> Wishes:
    """What a request says of its answers.

    Raises:
        ApiError: names the field.
    """
    bias, text_bias = _read_bias(fields)
    return Wishes(
        sampling=read_sampling(fields),
        max_tokens=read_limit(fields, "max_completion_tokens", "max_tokens", "n_predict"),
        n_choices=fields.whole(fields.any_of("n", "n_cmpl") or "n", 1, MOST_CHOICES) or 1,
        stops=read_stops(fields, "stop"),
        logit_bias=bias,
        text_bias=text_bias,
        ignore_end=fields.flag("ignore_eos"),
    )


def read_limit(fields: Fields, *keys: str) -> int | None:
    """The most tokens, under the first of these names that is there; -1 is no limit."""
    key = fields.any_of(*keys)
    if key is None or fields.values[key] == -1:
        return None
    return fields.whole(key, 1, 2**31 - 1)


def read_stops(fields: Fields, key: str) -> tuple[str, ...]:
    """Texts that end an answer; empty ones end none."""
    stops = fields.texts(key)
    if len(stops) > _MOST_TEXTS:
        raise invalid(fields.name(key), f"has {len(stops)} texts; the most are {_MOST_TEXTS}")
    return tuple(stop for stop in stops if stop)


def read_sampling(fields: Fields) -> SamplingWish:
    """How tokens are picked, as far as it is said. Without a seed every request draws another one."""
    given = {key: value for key in _NUMBERS if (value := fields.number(key)) is not None}
    whole = {key: value for key in _WHOLE if (value := fields.whole(key)) is not None}
    seed = fields.whole("seed")
    if seed is None or seed == -1:
        seed = secrets.randbelow(_SEEDS)
    if whole.get("repeat_last_n", 0) < 0 or whole.get("top_k", 0) < 0:
        # llama.cpp's -1: the whole context, and all tokens.
        whole = {key: 0 if key == "top_k" else 2**15 for key, value in whole.items() if value < 0} | {
            key: value for key, value in whole.items() if value >= 0
        }
    try:
        return SamplingWish(**given, **whole, seed=seed % _SEEDS)  # type: ignore[arg-type]
    except UsageError as error:
        named = re.search(r"`(?:Sampling\.)?(\w+)`", error.message)
        said = f"{error.message.replace('Sampling.', '')}; {error.hint}"
        raise ApiError(400, said, named[1] if named else None, "invalid_value") from None


def _read_bias(fields: Fields) -> tuple[tuple[tuple[int, float], ...], tuple[TextBias, ...]]:
    """OpenAI's object of tokens and biases, or llama.cpp's array of pairs, in which a token may be a text."""
    value = fields.values.get("logit_bias")
    if value is None:
        return (), ()
    if isinstance(value, dict):
        pairs: list[object] = [[_token_of(fields, key), bias] for key, bias in value.items()]
    elif isinstance(value, list):
        pairs = value
    else:
        raise fields.wrong("logit_bias", "an object or an array of pairs")
    tokens: list[tuple[int, float]] = []
    texts: list[TextBias] = []
    for pair in pairs:
        match pair:
            case [bool(), _]:
                raise fields.wrong("logit_bias", "made of pairs of a token and a number")
            case [int(token), bias]:
                tokens.append((token, _bias(fields, bias)))
            case [str(text), bias]:
                texts.append(TextBias(text, _bias(fields, bias)))
            case _:
                raise fields.wrong("logit_bias", "made of pairs of a token and a number")
    if len(texts) > _MOST_TEXTS:
        raise invalid(fields.name("logit_bias"), f"has {len(texts)} texts; the most are {_MOST_TEXTS}")
    return tuple(tokens), tuple(texts)


def _token_of(fields: Fields, key: str) -> int | str:
    """What a key of OpenAI's object means: a token, or the tokens of a text."""
    if not key.isdecimal():
        return key
    if len(key) > _MOST_DIGITS:
        raise invalid(
            fields.name("logit_bias"), f"names the token {key[:_MOST_DIGITS]}..., and no model has that many"
        )
    return int(key)


def _bias(fields: Fields, bias: object) -> float:
    if bias is False:
        return _FORBIDDEN
    if isinstance(bias, int | float) and not isinstance(bias, bool):
        # OpenAI: values like -100 ban a token.
        return _FORBIDDEN if bias <= -100 else float(min(bias, 100))
    raise invalid(fields.name("logit_bias"), f"has the bias {bias!r:.40}, which is no number")


def read_top(fields: Fields, key: str) -> int:
    """How many of the likeliest tokens are told with each token."""
    return fields.whole(key, 0, _MOST_TOP) or 0


def read_structure(fields: Fields) -> Structure | None:
    """What every answer must look like: `response_format`, or llama.cpp's `json_schema` and `grammar`.

    Raises:
        ApiError: two of them, or one that is no such thing.
    """
    given = [key for key in ("grammar", "json_schema") if fields.has(key) and fields.values[key] != ""]
    found = read_response_format(fields.inside("response_format"))
    if len(given) + (found is not None) > 1:
        names = [*given, *(["response_format"] if found else [])]
        raise invalid(names[0], f"cannot go with `{names[1]}`")
    if "grammar" in given:
        return Structure(StructureKind.GBNF, fields.needed_text("grammar"))
    if "json_schema" in given:
        return _schema(fields, "json_schema")
    return found


def read_response_format(form: Fields | None) -> Structure | None:
    """OpenAI's description of a form; None for any text.

    Raises:
        ApiError: it is no such thing.
    """
    if form is None:
        return None
    match form.needed_text("type"):
        case "text":
            return None
        case "json_object":
            return _schema(form, "schema") if form.has("schema") else Structure(StructureKind.JSON)
        case "json_schema":
            # OpenAI wraps the schema once more; others do not.
            inside = form.inside("json_schema") or form
            if not inside.has("schema"):
                raise inside.missing("schema")
            return _schema(inside, "schema")
        case other:
            raise invalid(form.name("type"), f"is {other!r:.40}; it can be text, json_object or json_schema")


def _schema(fields: Fields, key: str) -> Structure:
    value = fields.values[key]
    if not isinstance(value, dict | bool):
        raise fields.wrong(key, "a JSON schema")
    if value in ({}, True):
        return Structure(StructureKind.JSON)
    return Structure(StructureKind.SCHEMA, json.dumps(value))
