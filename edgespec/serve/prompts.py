"""Prompts as `/v1/completions` has them: a text, tokens, a mixture of both, or several of these."""

from edgespec.chat.infill import Infill
from edgespec.serve.engine import Engine
from edgespec.serve.errors import invalid
from edgespec.serve.fields import Fields, kind_of
from edgespec.session.shared.asked import Tokenize

Prompt = str | tuple[int, ...] | Infill
Part = str | int
MOST_PROMPTS = 256


def read_prompts(fields: Fields) -> tuple[list[list[Part] | str], bool]:
    """The prompts of a request, a mixture as its parts, and whether the request has a list of them.

    Raises:
        ApiError: the prompt is missing, or no such thing.
    """
    value = fields.values.get("prompt")
    if value is None:
        raise fields.missing("prompt")
    if not isinstance(value, list) or (value and all(_is_part(one) for one in value) and _holds_token(value)):
        return [_read_one(value, fields.name("prompt"))], False
    if not value:
        raise invalid(fields.name("prompt"), "is empty; it needs one text or token at least")
    if len(value) > MOST_PROMPTS:
        raise invalid(fields.name("prompt"), f"has {len(value)} prompts; the most are {MOST_PROMPTS}")
    return [_read_one(one, f"{fields.name('prompt')}[{place}]") for place, one in enumerate(value)], True


def _holds_token(value: list[object]) -> bool:
    # A list of texts alone is several prompts.
    return any(isinstance(one, int) for one in value)


def _is_part(one: object) -> bool:
    return isinstance(one, str | int) and not isinstance(one, bool)


def _read_one(value: object, name: str) -> list[Part] | str:
    match value:
        case str():
            return value
        case {"prompt_string": str(), "multimodal_data": [_, *_] | str()}:
            raise invalid(f"{name}.multimodal_data", "cannot be read here; send text")
        case {"prompt_string": str(text)}:
            return text
        case [_, *_]:
            parts = [one for one in value if isinstance(one, str | int) and not isinstance(one, bool)]
            if len(parts) == len(value):
                return parts
    said = f"is {kind_of(value)}, not a text or an array of tokens"
    raise invalid(name, "is empty" if value == [] else said)


async def to_prompt(engine: Engine, read: list[Part] | str | Infill) -> Prompt:
    """A prompt as the engine takes it; the texts in a mixture become tokens.

    Raises:
        ApiError: the engine ends.
    """
    if isinstance(read, str | Infill):
        return read
    tokens: list[int] = []
    for place, part in enumerate(read):
        if isinstance(part, str):
            tokens += (await engine.tokenize(Tokenize(0, part, add_special=place == 0))).tokens
        else:
            tokens.append(part)
    return tuple(tokens)
