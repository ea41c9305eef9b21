"""A run as JSON and back, of either kind. `docs/bench-json.md` and `docs/throughput-json.md` describe every field."""

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

from edgespec.bench.copying import group_of
from edgespec.bench.fixed_lengths import regret_of
from edgespec.bench.result import COPYING, SCHEMA, BenchResult
from edgespec.bench.summary import PLAIN_ARM, categories, copied_shares_of
from edgespec.bench.throughput.result import SCHEMA as THROUGHPUT_SCHEMA
from edgespec.bench.throughput.result import ThroughputResult
from edgespec.bench.throughput.verdict import throughput_verdict
from edgespec.bench.verdict import verdict
from edgespec.documents import build, parse_json
from edgespec.errors import ConfigError

Result = BenchResult | ThroughputResult
"""A run that is saved and shown."""

_OLD_PLAIN_ARM, _OLD_PLAIN_TOKEN = "vanilla", "vanilla_token"
"""Names in files of earlier versions."""
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
        "categories": _categories(result),
        "regret": _plain(regret_of(result)),
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
    document = parse_json(text, "not a benchmark result")
    if not isinstance(document, dict):
        raise ConfigError("not a benchmark result: not a JSON object")
    schema = document.get("schema")
    kind = _KINDS.get(schema) if isinstance(schema, str) else None
    if kind is None:
        families = tuple(known.partition("/")[0] + "/" for known in _KINDS)
        is_ours = isinstance(schema, str) and schema.startswith(families)
        hint = "it comes from another version of edgespec; read it with that version" if is_ours else ""
        raise ConfigError(
            f"not a benchmark result of schema {' or '.join(_KINDS)}: its schema is {schema!r}", hint
        )
    return build(kind, _with_present_names(document), "damaged benchmark result", "result")


def _with_present_names(document: dict[str, Any]) -> dict[str, Any]:
    """The same, plain decoding called as it is now."""
    found = dict(document)
    if isinstance(arms := document.get("arms"), list):
        found["arms"] = [_with_present_arm(arm) for arm in arms]
    audit = document.get("audit")
    if isinstance(audit, dict) and isinstance(differences := audit.get("first_differences"), list):
        found["audit"] = {**audit, "first_differences": [_with_present_token(one) for one in differences]}
    return found


def _with_present_arm(arm: Any) -> Any:
    return {**arm, "name": PLAIN_ARM} if isinstance(arm, dict) and arm.get("name") == _OLD_PLAIN_ARM else arm


def _with_present_token(difference: Any) -> Any:
    if not isinstance(difference, dict) or _OLD_PLAIN_TOKEN not in difference:
        return difference
    return {"plain_token": difference[_OLD_PLAIN_TOKEN], **difference}


def _categories(result: BenchResult) -> dict[str, dict[str, object]]:
    """What kind of prompts each category has."""
    shares = copied_shares_of(result)
    return {
        name: {
            "copied_share": shares.get(name),
            "copies": group_of(shares[name]) == COPYING if name in shares else None,
        }
        for name in categories(result.arms)
    }


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
