"""Small JSON schemas, and what has to be so of their values, said once more in Python."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(["a", "ab", "name", 'q"t', "ü", "a b"])
WORDS = ["yes", 'say "no"', "a\\b", "日本", "", "😀"]
PATTERNS = [r"^\d{2,3}$", r"^[^a-y]?(x|yz){1,5}$", r'^"\\[a-c]$', r"^(?:a|b)?-\w$", r"^\s?[\n-]$"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A schema, and whether a value is one of its."""

    schema: Any
    holds: Callable[[Any], bool]


def is_whole(value: Any) -> bool:
    return type(value) is int


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def whole_between(low: int, span: int) -> Checked:
    return Checked(
        {"type": "integer", "minimum": low, "maximum": low + span},
        lambda value: is_whole(value) and low <= value <= low + span,
    )


def number_between(low: float, span: float) -> Checked:
    return Checked(
        {"type": "number", "exclusiveMinimum": low, "maximum": low + span},
        lambda value: is_number(value) and low < value <= low + span,
    )


def string_of(least: int, more: int) -> Checked:
    return Checked(
        {"type": "string", "minLength": least, "maxLength": least + more},
        lambda value: isinstance(value, str) and least <= len(value) <= least + more,
    )


def matching(pattern: str) -> Checked:
    return Checked(
        {"type": "string", "pattern": pattern},
        lambda value: isinstance(value, str) and re.search(pattern[:-1] + r"\Z", value) is not None,
    )


def one_of(values: list[Any]) -> Checked:
    return Checked({"enum": values}, lambda value: value in values)


def either(choices: list[Checked]) -> Checked:
    return Checked(
        {"anyOf": [one.schema for one in choices]},
        lambda value: any(one.holds(value) for one in choices),
    )


def list_of(item: Checked, least: int, more: int) -> Checked:
    return Checked(
        {"type": "array", "items": item.schema, "minItems": least, "maxItems": least + more},
        lambda value: (
            isinstance(value, list) and least <= len(value) <= least + more and all(map(item.holds, value))
        ),
    )


def object_of(members: dict[str, Checked], required: list[str], more: Checked | None = None) -> Checked:
    def holds(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value for name in required)
            and all(
                members[name].holds(one) if name in members else more is not None and more.holds(one)
                for name, one in value.items()
            )
        )

    schema = {
        "type": "object",
        "properties": {name: one.schema for name, one in members.items()},
        "required": required,
        "additionalProperties": more.schema if more else False,
    }
    return Checked(schema, holds)


LEAVES = st.one_of(
    st.builds(whole_between, st.integers(-1200, 1200), st.integers(0, 2000)),
    st.builds(number_between, st.integers(-30, 30), st.sampled_from([0.5, 1, 2.25, 17])),
    st.builds(string_of, st.integers(0, 2), st.integers(0, 3)),
    st.builds(matching, st.sampled_from(PATTERNS)),
    st.builds(one_of, st.lists(st.sampled_from([*WORDS, 3, None, 2.5]), min_size=1, max_size=3)),
    st.just(Checked({"type": "boolean"}, lambda value: type(value) is bool)),
    st.just(Checked({"type": "null"}, lambda value: value is None)),
)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Checked]) -> Checked:
    members = draw(st.dictionaries(NAMES, inner, max_size=3))
    required = draw(st.lists(st.sampled_from(sorted(members)), unique=True)) if members else []
    return object_of(members, required, draw(st.none() | inner))


def nested(*, open_objects: bool) -> st.SearchStrategy[Checked]:
    """Schemas a few levels deep; those without open objects have no values of any length."""

    def deeper(inner: st.SearchStrategy[Checked]) -> st.SearchStrategy[Checked]:
        closed = st.dictionaries(NAMES, inner, max_size=2).map(lambda members: object_of(members, [*members]))
        return st.one_of(
            objects(inner) if open_objects else closed,
            st.builds(list_of, inner, st.integers(0, 1), st.integers(0, 2)),
            st.builds(either, st.lists(inner, min_size=1, max_size=2)),
        )

    return st.recursive(LEAVES, deeper, max_leaves=5)
