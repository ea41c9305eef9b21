"""Two schemas that both have to hold, as one."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgespec.errors import UsageError

Schema = Mapping[str, Any]
ANNOTATIONS: Final = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
    | {"$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "id", "strict", "nullable"}
    | {"contentEncoding", "contentMediaType"}
)
"""Keywords that say nothing about which values are right, or only hold other schemas."""


def without(schema: Schema, *names: str) -> dict[str, Any]:
    """The rest of a schema's keywords, as far as they say something."""
    return {name: value for name, value in schema.items() if name not in names and name not in ANNOTATIONS}


def _common(left: Any, right: Any) -> Any:
    """The types of both, or the values."""
    lefts = left if isinstance(left, list) else [left]
    rights = right if isinstance(right, list) else [right]
    if "integer" in lefts + rights:  # every integer is a number
        lefts = [*lefts, "integer"] if "number" in lefts else lefts
        rights = [*rights, "integer"] if "number" in rights else rights
    return [one for one in lefts if one in rights]


def _both(left: Any, right: Any) -> Any:
    return left if left == right else {"allOf": [left, right]}


def _properties(left: Any, right: Any) -> Any:
    return {**left, **{name: _both(left[name], one) if name in left else one for name, one in right.items()}}


_COMBINED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "type": _common,
    "enum": _common,
    "properties": _properties,
    "required": lambda left, right: [*left, *(name for name in right if name not in left)],
    "items": _both,
    "minimum": max,
    "exclusiveMinimum": max,
    "minLength": max,
    "minItems": max,
    "maximum": min,
    "exclusiveMaximum": min,
    "maxLength": min,
    "maxItems": min,
}


def merge(left: Schema, right: Schema) -> Schema:
    """A schema of the values that both allow.

    Raises:
        UsageError: two keywords that cannot be one.
    """
    merged = without(left)
    for name, value in right.items():
        if name in ANNOTATIONS:
            continue
        if name not in merged or merged[name] == value:
            merged[name] = value
        elif name in _COMBINED:
            merged[name] = _COMBINED[name](merged[name], value)
        elif name == "additionalProperties":
            # What only one of them closes is closed for both.
            merged[name] = (
                _both(merged[name], value)
                if True not in (merged[name], value)
                else (value if merged[name] is True else merged[name])
            )
            if False in (left[name], value):
                merged[name] = False
        else:
            said = json.dumps(name)
            raise UsageError(
                f"two schemas with different {said} cannot become one grammar", "write them as one schema"
            )
    return merged
