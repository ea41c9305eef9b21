"""How a file was made, kept in the file itself: the key `edgespec.recipe`, a JSON text."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypedDict, cast

from edgespec import __version__
from edgespec.catalog.metadata import GgufMetadata
from edgespec.documents import parse_json
from edgespec.errors import ConfigError
from quant.gguf.fields import FieldValue
from quant.gguf.plan import GgufPlan

RECIPE_KEY: Final = "edgespec.recipe"
_SCHEMA: Final = "edgespec.recipe/1"

Step = dict[str, Any]
"""What was done, of what JSON can say: `step` names it, the rest is its options and what it removed."""


class RecipeSource(TypedDict):
    """The file that a model was made from first."""

    name: str
    file_bytes: int
    header_sha256: str
    """Tells the file apart without reading its weights."""


class Recipe(TypedDict):
    """The JSON object, schema `edgespec.recipe/1`."""

    schema: str
    edgespec: str
    """The version that did the last step."""
    source: RecipeSource
    steps: list[Step]


def stamp(plan: GgufPlan, step: Mapping[str, Any], source: RecipeSource | None = None) -> GgufPlan:
    """The plan with one more step in its recipe.

    Args:
        plan: Its recipe is continued; where it has none, one is begun.
        step: What was done.
        source: What a recipe that is begun names as its source; None takes the plan's own.

    Raises:
        OSError: the source cannot be read.
    """
    stored = plan.field(RECIPE_KEY)
    known = _parsed(stored.value if stored else None)
    begun: Recipe = known or {
        "schema": _SCHEMA,
        "edgespec": __version__,
        "source": source or _origin(plan.source),
        "steps": [],
    }
    recipe = {**begun, "edgespec": __version__, "steps": [*begun["steps"], dict(step)]}
    text = json.dumps(recipe, ensure_ascii=False, sort_keys=True)
    return replace(plan, edits={**plan.edits, RECIPE_KEY: FieldValue("str", text)})


def read_recipe(meta: GgufMetadata) -> Recipe | None:
    """The recipe of a file; None when it carries none of ours."""
    return _parsed(meta.fields.get(RECIPE_KEY))


def pruning_method(meta: GgufMetadata) -> str | None:
    """The method of the last step that pruned the file; None when none of ours did."""
    recipe = read_recipe(meta)
    steps: list[Step] = recipe["steps"] if recipe else []
    methods = [step.get("method") for step in steps if isinstance(step, dict) and step.get("step") == "prune"]
    return str(methods[-1]) if methods else None


def _parsed(text: object) -> Recipe | None:
    """A recipe as we write it; None for anything else: the text may be a stranger's."""
    if not isinstance(text, str):
        return None
    try:
        match parse_json(text, RECIPE_KEY):
            case {
                "schema": schema,
                "edgespec": str(),
                "source": {"name": str()},
                "steps": [*steps],
            } as recipe if schema == _SCHEMA and all(isinstance(step, dict) for step in steps):
                return cast(Recipe, recipe)
    except ConfigError:
        pass
    return None


def _origin(source: GgufMetadata) -> RecipeSource:
    with source.path.open("rb") as file:
        header_sha256 = hashlib.sha256(file.read(source.data_offset)).hexdigest()
    return {"name": source.path.name, "file_bytes": source.file_bytes, "header_sha256": header_sha256}
