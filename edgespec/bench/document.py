"""A run as JSON and back, of either kind. `docs/bench-json.md` and `docs/throughput-json.md` describe every field."""

import json
import math
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from edgespec.bench.result import SCHEMA, BenchResult
from edgespec.bench.throughput.result import SCHEMA as THROUGHPUT_SCHEMA
from edgespec.bench.throughput.result import ThroughputResult
from edgespec.bench.throughput.verdict import throughput_verdict
from edgespec.bench.verdict import verdict
from edgespec.errors import ConfigError

Result = BenchResult | ThroughputResult
"""A run that is saved and shown."""

_KINDS: dict[str, type[Result]] = {SCHEMA: BenchResult, THROUGHPUT_SCHEMA: ThroughputResult}


def to_json(result: Result) -> str:
    """The run as ASCII JSON ending in a newline. A number that is not known is null; NaN never appears."""
    return json.dumps(to_document(result), allow_nan=False, indent=1) + "\n"


def to_document(result: Result) -> dict[str, Any]:
    """The run as plain dicts, lists, strings, finite numbers and None, in the order of the contract."""
    if isinstance(result, ThroughputResult):
        return {"schema": THROUGHPUT_SCHEMA, **_plain(result), "verdict": verdict_of(result)}
    return {
        "schema": SCHEMA,
        "run_id": result.run_id,
        "started_at": result.started_at,
        "complete": result.complete,
        "env": _plain(result.env),
        "settings": _plain(result.settings),
        "target": result.target,
        "arms": [_plain(arm) for arm in result.arms],
        "geomean_speedup": {arm.name: _plain(arm.speedup) for arm in result.arms},
        "audit": {**_plain(result.audit), "failed": result.audit.failed},
        "calibration": _plain(result.calibration),
        "verdict": verdict_of(result),
    }


def verdict_of(result: Result) -> str:
    """What the run says, in a sentence or a few."""
    return throughput_verdict(result) if isinstance(result, ThroughputResult) else verdict(result)


def from_json(text: str) -> Result:
    """Read what `to_json` wrote. Unknown fields are skipped, so that a later minor addition does no harm.

    Raises:
        ConfigError: not JSON, another schema, or a field that is missing or of the wrong kind (its path is named).
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not a benchmark result: no JSON ({error})") from error
    if not isinstance(document, dict):
        raise ConfigError("not a benchmark result: no JSON object")
    schema = document.get("schema")
    kind = _KINDS.get(schema) if isinstance(schema, str) else None
    if kind is None:
        families = tuple(known.partition("/")[0] + "/" for known in _KINDS)
        is_ours = isinstance(schema, str) and schema.startswith(families)
        hint = "It comes from another version of edgespec; read it with that version." if is_ours else ""
        raise ConfigError(
            f"not a benchmark result of schema {' or '.join(_KINDS)}: its schema is {schema!r}", hint
        )
    result: Result = _build(kind, document, "result")
    return result


def _plain(value: Any) -> Any:
    """Dataclasses to dicts, tuples to lists, keys to strings, and numbers that are not finite to None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return str(value)


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type `kind`; `where` is its path for the error."""
    if is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        kinds = [k for k in typing.get_args(kind) if k is not types.NoneType]
        return _build(kinds[0], value, where)
    if origin is tuple:
        return _build_tuple(typing.get_args(kind), value, where)
    if origin is dict:
        key_kind, item_kind = typing.get_args(kind)
        entries = _checked(dict, value, where).items()
        return {_key(key_kind, k, where): _build(item_kind, v, f"{where}.{k}") for k, v in entries}
    return _scalar(kind, value, where)


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    entries = _checked(dict, value, where)
    hints = typing.get_type_hints(kind)
    arguments = {}
    for f in fields(kind):
        if f.name in entries:
            arguments[f.name] = _build(hints[f.name], entries[f.name], f"{where}.{f.name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"damaged benchmark result: {where}.{f.name} is missing")
    return kind(**arguments)


def _build_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = _checked(list, value, where)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(items)
    if len(items) != len(kinds):
        raise ConfigError(f"damaged benchmark result: {where} has {len(items)} values, not {len(kinds)}")
    return tuple(
        _build(k, item, f"{where}[{i}]") for i, (k, item) in enumerate(zip(kinds, items, strict=True))
    )


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind in (object, Any):
        return value
    if kind is float:
        if value is None:
            return math.nan
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"damaged benchmark result: {where} is {value!r:.60}, not {kind.__name__}")


def _key(kind: Callable[[str], Any], text: str, where: str) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"damaged benchmark result: {where} has the key {text!r}") from error


def _checked(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"damaged benchmark result: {where} is no {kind.__name__}")
    return value
