"""JSON and TOML into values, as the annotations of dataclasses describe them, or an error that names the place.

    @dataclass(frozen=True, slots=True)
    class Answer:
        tokens: tuple[int, ...]
        note: str = ""

    build(Answer, {"tokens": [1, 2]}, "a.json")      # Answer(tokens=(1, 2), note="")
    build(Answer, {"tokens": [1, "x"]}, "a.json")    # ConfigError: a.json: tokens[1] is 'x', not a whole number

Fields may be dataclasses, `dict`, `tuple`, `list`, unions with None or of scalars, `Literal`, enums, `Path`, `str`, `bool`,
`int`, `float`, and `object` for anything. A builder is put together once for each kind and knows no place: what holds a
part adds the part's name to an error that passes by, so that a sound document pays nothing for its places.
"""

import json
import math
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from importlib.resources.abc import Traversable
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from edgespec.errors import ConfigError
from edgespec.text import nearest

T = TypeVar("T")
_Builder = Callable[..., Any]

FromKey = Annotated[str, "the key of its table"]
"""A field that does not stand in its table but is the table's key, as NAME is of `[models.NAME]`."""


def read_toml(source: Path | Traversable) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: It cannot be read, or is not TOML (the line is named).
    """
    try:
        return tomllib.loads(read_text(source))
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(f"{source} is not valid TOML: {err}", "correct that line") from None


def read_json(path: Path, **stamp: object) -> Any:
    """What a JSON file holds.

    Args:
        path: The file.
        stamp: A key and the value that it must have there, as in `read_json(path, version=2)`.

    Raises:
        ConfigError: It cannot be read, is not JSON, or has another stamp.
    """
    document = parse_json(read_text(path), str(path))
    for key, wanted in stamp.items():
        found = document.get(key) if isinstance(document, dict) else None
        if found != wanted:
            raise ConfigError(f"{path}: {key} is {found!r:.60}, not {wanted!r}", "another version wrote it")
    return document


def parse_json(text: str, label: str, *, hint: str = "") -> Any:
    """What a JSON text holds; an error calls it `label` and ends with `hint`.

    Raises:
        ConfigError: It is not JSON, or nested beyond Python's recursion.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"{label}: not JSON ({err})", hint) from None


def read_text(source: Path | Traversable) -> str:
    """The text of a UTF-8 file, without the byte order mark that some editors on Windows begin it with.

    Raises:
        ConfigError: It cannot be read, or is not UTF-8.
    """
    try:
        return source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise ConfigError(f"{source} is not UTF-8 text (byte {err.start})") from None
    except OSError as err:
        raise ConfigError(f"{source} cannot be read: {err.strerror or err}") from None


def build(
    kind: type[T], value: object, label: str, place: str = "", *, known_only: bool = False, hint: str = ""
) -> T:
    """A document, or a part of one, as a value.

    Args:
        kind: A dataclass, or any annotation that a field of one may have.
        value: What the JSON or TOML parser gave. Where a number is wanted, null is NaN: a figure that nobody knows.
        label: What an error calls the document.
        place: Where in the document the part stands, such as `hardware`; empty for the whole.
        known_only: Refuse keys that are not fields, for files that people write; else they are skipped, because a later
            version may have more of them.
        hint: What to do about a wrong value, where the error does not say it by itself.

    Raises:
        ConfigError: A key is missing or unknown, or a value is of another kind; the message has label, place and value.
    """
    try:
        built: T = _builder(typing.cast(Any, kind), known_only)(value)
    except _PartError as wrong:
        where = wrong.within(place).place
        named = f"{label}: {where}" if where else label
        raise ConfigError(f"{named} {wrong.problem}", wrong.hint or hint) from None
    return built


class _PartError(Exception):
    """What is wrong with a part, and where that part is in those around it."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.place = ""

    def within(self, part: str) -> "_PartError":
        """The same error as seen from what holds `part`, which is a key or `[index]`."""
        dot = "." if part and self.place and not self.place.startswith("[") else ""
        self.place = part + dot + self.place
        return self


def _wrong_kind(value: object, wanted: str) -> _PartError:
    return _PartError(f"is {value!r:.60}, not {wanted}")


@cache
def _builder(kind: Any, known_only: bool) -> _Builder:
    if is_dataclass(kind):
        return _dataclass_builder(kind, known_only)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _union_builder(arguments, known_only)
    if origin in (tuple, list):
        return _list_builder(origin, arguments, known_only)
    if origin in (dict, Mapping):
        return _table_builder(arguments[0], arguments[1], known_only)
    if origin is Literal:
        return _choice_builder({choice: choice for choice in arguments})
    if kind is object:
        return lambda value: value
    if issubclass(kind, Enum):
        return _choice_builder({choice.value: choice for choice in kind})
    return _scalar_builder(kind)


def _dataclass_builder(kind: Any, known_only: bool) -> _Builder:
    hints = typing.get_type_hints(kind, include_extras=True)
    keys = [one for one in fields(kind) if one.init and hints[one.name] != FromKey]
    builders = {one.name: _builder(hints[one.name], known_only) for one in keys}
    needed = [one.name for one in keys if one.default is MISSING and one.default_factory is MISSING]

    def build_fields(value: object, **given: str) -> Any:
        arguments: dict[str, Any] = {**given}
        for key, item in _table(value).items():
            build_item = builders.get(key)
            if build_item is not None:
                try:
                    arguments[key] = build_item(item)
                except _PartError as wrong:
                    raise wrong.within(key) from None
            elif known_only:
                raise _unknown_key(key, builders)
        missing = [name for name in needed if name not in arguments]
        if missing:
            raise _PartError(f"lacks {_listed(missing)}", "add it")
        return kind(**arguments)

    return build_fields


def _listed(names: list[str]) -> str:
    most = ", ".join(names[:-1])
    return f"{most} and {names[-1]}" if most else names[-1]


def _unknown_key(key: str, known: Iterable[str]) -> _PartError:
    near = nearest(key, known)
    hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(known)}"
    return _PartError(f"has the unknown key {key!r}", hint)


def _table_builder(key_kind: Any, item_kind: Any, known_only: bool) -> _Builder:
    build_item = _builder(item_kind, known_only)
    hints = typing.get_type_hints(item_kind, include_extras=True) if is_dataclass(item_kind) else {}
    named = [name for name, hint in hints.items() if hint == FromKey]

    def build_table(value: object) -> dict[Any, Any]:
        built = {}
        for text, item in _table(value).items():
            try:
                key = key_kind(text)
            except ValueError:
                raise _PartError(f"has the key {text!r}, not {_SCALARS[key_kind][0]}") from None
            try:
                built[key] = build_item(item, **dict.fromkeys(named, text))
            except _PartError as wrong:
                raise wrong.within(text) from None
        return built

    return build_table


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong_kind(value, "a table")
    return value


def _list_builder(origin: type, kinds: tuple[Any, ...], known_only: bool) -> _Builder:
    builders = [_builder(kind, known_only) for kind in kinds if kind is not Ellipsis]
    any_length = origin is list or Ellipsis in kinds

    def build_items(value: object) -> Any:
        if not isinstance(value, list):
            raise _wrong_kind(value, "a list")
        if not any_length and len(value) != len(builders):
            raise _PartError(f"has {len(value)} values, not {len(builders)}")
        built: list[Any] = []
        try:
            for build_item, item in zip(cycle(builders), value, strict=False):
                built.append(build_item(item))
        except _PartError as wrong:
            raise wrong.within(f"[{len(built)}]") from None
        return origin(built)

    return build_items


def _union_builder(kinds: tuple[Any, ...], known_only: bool) -> _Builder:
    some = [kind for kind in kinds if kind is not types.NoneType]
    builders = [_builder(kind, known_only) for kind in some]

    def build_first(value: object) -> Any:
        if value is None and len(some) < len(kinds):
            return None
        if len(builders) == 1:
            return builders[0](value)
        for build_kind in builders:
            with suppress(_PartError):
                return build_kind(value)
        raise _wrong_kind(value, " or ".join(_SCALARS[kind][0] for kind in some))

    return build_first


def _choice_builder(choices: Mapping[str, Any]) -> _Builder:
    def build_choice(value: object) -> Any:
        if not isinstance(value, str) or value not in choices:
            raise _wrong_kind(value, f"one of {', '.join(choices)}")
        return choices[value]

    return build_choice


def _scalar_builder(kind: type) -> _Builder:
    words, make = _SCALARS[kind]

    def build_scalar(value: object) -> Any:
        if type(value) is kind:
            return value
        made = make(value)
        if made is None:
            raise _wrong_kind(value, words)
        return made

    return build_scalar


def _whole(value: object) -> int | None:
    # As people write large ones: 96e9.
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _number(value: object) -> float | None:
    if value is None:
        return math.nan
    with suppress(OverflowError):  # JSON and TOML have whole numbers of any length
        return float(value) if type(value) is int else None
    return None


def _path(value: object) -> Path | None:
    return Path(value) if isinstance(value, str) else None


_SCALARS: Final[Mapping[type, tuple[str, Callable[[object], Any]]]] = {
    str: ("a string", lambda value: None),
    bool: ("true or false", lambda value: None),
    int: ("a whole number", _whole),
    float: ("a number", _number),
    Path: ("a path", _path),
}
"""A kind in words, and what makes one of a value that is not of it; None where nothing does."""
