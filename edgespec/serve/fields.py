"""The fields of a request, read by kind: one that is null is absent, one that nobody reads is ignored, one of another kind is named."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

from edgespec.serve.errors import ApiError, invalid

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SHOWN: Final = 60
_DEEPEST: Final = 100
"""Objects and arrays in each other: what goes through a request step by step must not end at Python's own limit."""


def parse_body(body: bytes) -> "Fields":
    """The object that a body holds.

    Raises:
        ApiError: it is not JSON, or no object.
    """
    try:
        # Decoded strictly: by itself `json.loads` lets half a pair through.
        text = body.decode(json.detect_encoding(body))
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_parse_float)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON: {error}", None, "invalid_json") from None
    if not isinstance(value, dict):
        raise ApiError(400, f"the body is {kind_of(value)}, not an object", None, "invalid_json")
    if _is_deep(value):
        raise _too_deep()
    return Fields(_without_surrogates(value) if _SURROGATE.search(text) else value)


def _too_deep() -> ApiError:
    return ApiError(400, "the body is nested too deeply", None, "invalid_json")


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)  # type: ignore[attr-defined]
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        # JSON could not say it again.
        raise ValueError(f"{text[:_SHOWN]} is too large a number")
    return number


def _without_surrogates(value: object) -> dict[str, object]:
    # Half a pair stands for no character, and nothing can be encoded that holds one.
    text = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    cleaned: dict[str, object] = json.loads(text)
    return cleaned


def kind_of(value: object) -> str:
    """What a value is, in JSON's words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


class Fields:
    """An object of a request.

    Args:
        values: Its fields.
        place: Where it stands, such as `messages[0]`; empty for the whole body.
    """

    def __init__(self, values: Mapping[str, object], place: str = "") -> None:
        self.values, self.place = values, place

    def name(self, key: str) -> str:
        """A field as an error calls it."""
        return f"{self.place}.{key}" if self.place else key

    def has(self, key: str) -> bool:
        """Whether it is there, and not null."""
        return self.values.get(key) is not None

    def any_of(self, *keys: str) -> str | None:
        """The first of these names that is there: some fields have several."""
        return next((key for key in keys if self.has(key)), None)

    def wrong(self, key: str, wanted: str) -> ApiError:
        """A field of another kind than it must be."""
        value = self.values.get(key)
        shown = json.dumps(value, ensure_ascii=True)[:_SHOWN] if not isinstance(value, dict | list) else ""
        return invalid(self.name(key), f"is {kind_of(value)}{f' ({shown})' if shown else ''}, not {wanted}")

    def missing(self, key: str) -> ApiError:
        """A field that has to be there."""
        return ApiError(400, f"`{self.name(key)}` is missing", self.name(key), "missing_field")

    def text(self, key: str) -> str | None:
        """A string."""
        value = self.values.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(key, "a string")

    def needed_text(self, key: str) -> str:
        """A string that has to be there."""
        value = self.text(key)
        if value is None:
            raise self.missing(key)
        return value

    def flag(self, key: str, usual: bool = False) -> bool:
        """A boolean."""
        value = self.values.get(key)
        if value is None:
            return usual
        if isinstance(value, bool):
            return value
        raise self.wrong(key, "a boolean")

    def number(self, key: str) -> float | None:
        """A finite number."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
        raise self.wrong(key, "a number")

    def whole(self, key: str, least: int | None = None, most: int | None = None) -> int | None:
        """A whole number, perhaps within limits."""
        number = self.number(key)
        if number is None:
            return None
        if number != int(number):
            raise self.wrong(key, "a whole number")
        if (least is not None and number < least) or (most is not None and number > most):
            limits = f"{least} or more" if most is None else f"{least} to {most}"
            raise invalid(self.name(key), f"is {int(number)}; it must be {limits}")
        return int(number)

    def texts(self, key: str) -> tuple[str, ...]:
        """A string, or an array of them."""
        value = self.values.get(key)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        raise self.wrong(key, "a string or an array of strings")

    def inside(self, key: str) -> "Fields | None":
        """An object."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, dict):
            return Fields(value, self.name(key))
        raise self.wrong(key, "an object")

    def each(self, key: str) -> "Iterator[Fields]":
        """The objects of an array; none where it is absent."""
        value = self.values.get(key)
        if value is None:
            return
        if not isinstance(value, list):
            raise self.wrong(key, "an array")
        for place, one in enumerate(value):
            where = f"{self.name(key)}[{place}]"
            if not isinstance(one, dict):
                raise invalid(where, f"is {kind_of(one)}, not an object")
            yield Fields(one, where)
