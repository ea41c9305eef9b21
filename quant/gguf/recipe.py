"""How a file was made, kept in the file itself: the key `edgespec.recipe`, a JSON text."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from edgespec import __version__
from edgespec.catalog.metadata import GgufMetadata
from quant.gguf.plan import FieldValue, GgufPlan

RECIPE_KEY: Final = "edgespec.recipe"
_SCHEMA: Final = "edgespec.recipe/1"


def stamp(plan: GgufPlan, step: Mapping[str, Any]) -> GgufPlan:
    """The plan with one more step in its recipe.

    Args:
        plan: Its recipe is continued; where it has none, one is begun that names the plan's source.
        step: `step` names it; the rest, of what JSON can say, is its options and what it removed.

    Raises:
        OSError: The source cannot be read.
    """
    stored = plan.field(RECIPE_KEY)
    recipe = _parsed(stored.value if stored else None) or {"schema": _SCHEMA, "source": _origin(plan.source)}
    recipe |= {"edgespec": __version__, "steps": [*recipe.get("steps", []), dict(step)]}
    text = json.dumps(recipe, ensure_ascii=False, sort_keys=True)
    return replace(plan, edits={**plan.edits, RECIPE_KEY: FieldValue("str", text)})


def read_recipe(meta: GgufMetadata) -> dict[str, Any] | None:
    """The recipe of a file: `schema`, `edgespec` (version), `source` and `steps`; None when it carries none of ours."""
    return _parsed(meta.fields.get(RECIPE_KEY))


def pruning_method(meta: GgufMetadata) -> str | None:
    """The method of the last step that pruned the file; None when none of ours did."""
    steps = (read_recipe(meta) or {}).get("steps", [])
    methods = [step.get("method") for step in steps if isinstance(step, dict) and step.get("step") == "prune"]
    return str(methods[-1]) if methods else None


def _parsed(text: object) -> dict[str, Any] | None:
    try:
        recipe = json.loads(text) if isinstance(text, str) else None
    except json.JSONDecodeError:
        return None
    if not isinstance(recipe, dict) or recipe.get("schema") != _SCHEMA:
        return None
    return recipe if isinstance(recipe.get("steps"), list) else None


def _origin(source: GgufMetadata) -> dict[str, Any]:
    """The header's hash tells the original file apart without reading its weights."""
    with source.path.open("rb") as file:
        header_sha256 = hashlib.sha256(file.read(source.data_offset)).hexdigest()
    return {"name": source.path.name, "file_bytes": source.file_bytes, "header_sha256": header_sha256}
