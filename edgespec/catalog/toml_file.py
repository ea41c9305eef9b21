"""Reading models.toml: what may stand in it, and an error that names file, key and the nearest known key."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from edgespec import paths
from edgespec.catalog.entries import NGRAM, Catalog, Dimensions, ModelEntry, PairEntry, WheelSource, nearest
from edgespec.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BRACES = re.compile(r"\{n(?::0\d+d)?\}")

_TOP_KEYS: Mapping[str, type] = {"default": str, "models": dict, "pairs": dict}
_MODEL_KEYS: Mapping[str, type] = {
    "description": str,
    "repo": str,
    "file": str,
    "revision": str,
    "size_bytes": int,
    "sha256": str,
    "part_sha256": list,
    "licence": str,
    "gated": bool,
    "params": int,
    "wheels": dict,
    "shape": dict,
    "path": str,
}
_WHEEL_KEYS: Mapping[str, type] = {"project": str, "version": str, "member": str, "parts": int}
_SHAPE_KEYS: Mapping[str, type] = {
    field.name: bool if field.name == "tied" else int for field in fields(Dimensions)
}
_PAIR_KEYS: Mapping[str, type] = {"description": str, "target": str, "drafts": list, "tuned": bool}
_KINDS: Mapping[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


@dataclass(slots=True)
class _Layer:
    """What one file says."""

    label: str
    default: str | None = None
    models: dict[str, ModelEntry] = field(default_factory=dict)
    pairs: dict[str, PairEntry] = field(default_factory=dict)


def read_catalog() -> Catalog:
    """The shipped file with the user's laid over it; see `entries.load_catalog`."""
    layers = [_read_layer(_shipped_file())]
    user_file = paths.user_catalog_file()
    if user_file.is_file():
        layers.append(_read_layer(user_file))
    models: dict[str, ModelEntry] = {}
    pairs: dict[str, PairEntry] = {}
    default: str | None = None
    for layer in layers:
        models |= layer.models
        pairs |= layer.pairs
        default = layer.default or default
        _check_references(layer, models, pairs)
    if default is None:
        raise ConfigError(f"{layers[0].label} names no default model.", 'Add a line default = "NAME".')
    return Catalog(models, pairs, default)


def _shipped_file() -> Traversable | Path:
    packaged = resources.files("edgespec").joinpath("data").joinpath("models.toml")
    if packaged.is_file():
        return packaged
    # A source tree or an editable install: the file stands at the top of the repository.
    return Path(__file__).resolve().parents[2] / "models.toml"


def _read_layer(source: Traversable | Path) -> _Layer:
    label = str(source)
    try:
        document = tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{label} is no valid TOML: {error}.", "Correct that line.") from None
    except OSError as error:
        raise ConfigError(f"{label} cannot be read: {error.strerror}.", "Install edgespec again.") from None
    layer = _Layer(label)
    _check_keys(label, "", document, _TOP_KEYS)
    layer.default = document.get("default")
    for name, table in document.get("models", {}).items():
        layer.models[name] = _model(label, name, table)
    for name, table in document.get("pairs", {}).items():
        layer.pairs[name] = _pair(label, name, table)
    return layer


def _model(label: str, name: str, table: Any) -> ModelEntry:
    where = _table(label, "models", name, table)
    _check_keys(label, where, table, _MODEL_KEYS)
    values = dict(table)
    own_path = values.pop("path", None)
    wheels = values.pop("wheels", None)
    shape = values.pop("shape", None)
    if own_path is None and not ("repo" in values and "file" in values):
        raise ConfigError(f"{label}: {where} has neither repo and file nor path.", "Say where the model is.")
    digests = [*values.get("part_sha256", []), *([values["sha256"]] if "sha256" in values else [])]
    for digest in digests:
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise ConfigError(
                f"{label}: {where} has the hash {digest!r}.", "A sha256 is 64 lower-case hexadecimal digits."
            )
    values["part_sha256"] = tuple(values.get("part_sha256", ()))
    if values.get("repo", "a/b").count("/") != 1:
        raise ConfigError(f"{label}: {where}.repo is {values['repo']!r}.", "Write it as owner/name.")
    entry = ModelEntry(
        name=name,
        path=_own_path(label, own_path) if own_path else None,
        wheels=_wheels(label, where, wheels) if wheels else None,
        shape=_shape(label, where, shape) if shape else None,
        **values,
    )
    if entry.part_sha256 and len(entry.part_sha256) != len(entry.repo_files):
        raise ConfigError(
            f"{label}: {where} has {len(entry.repo_files)} files and {len(entry.part_sha256)} part_sha256.",
            "Give one for each part, or none.",
        )
    return entry


def _own_path(label: str, text: str) -> Path:
    # A relative path starts at the file that names it, not at the folder the user happens to be in.
    return Path(label).parent / Path(text).expanduser()


def _wheels(label: str, where: str, table: dict[str, Any]) -> WheelSource:
    where = f"{where}.wheels"
    _check_keys(label, where, table, _WHEEL_KEYS)
    missing = [key for key in ("project", "version", "member") if key not in table]
    if missing:
        raise ConfigError(f"{label}: {where} lacks {' and '.join(missing)}.", "Add it.")
    for key in ("project", "member"):
        rest = _BRACES.sub("", table[key])
        if "{" in rest or "}" in rest:
            raise ConfigError(
                f"{label}: {where}.{key} is {table[key]!r}.", "Only {n} and {n:02d} may stand in braces."
            )
    source = WheelSource(**table)
    if source.parts < 1:
        raise ConfigError(f"{label}: {where}.parts is {source.parts}.", "It must be 1 or more.")
    return source


def _shape(label: str, where: str, table: dict[str, Any]) -> Dimensions:
    where = f"{where}.shape"
    _check_keys(label, where, table, _SHAPE_KEYS)
    wanted = [one.name for one in fields(Dimensions) if one.default is MISSING]
    missing = [key for key in wanted if key not in table]
    if missing:
        raise ConfigError(f"{label}: {where} lacks {' and '.join(missing)}.", "Add it.")
    small = [key for key, value in table.items() if value < 1 and key != "tied"]
    if small:
        raise ConfigError(f"{label}: {where}.{small[0]} is {table[small[0]]}.", "It must be 1 or more.")
    return Dimensions(**table)


def _pair(label: str, name: str, table: Any) -> PairEntry:
    where = _table(label, "pairs", name, table)
    _check_keys(label, where, table, _PAIR_KEYS)
    drafts = table.get("drafts", [])
    if "target" not in table or not drafts or not all(isinstance(draft, str) for draft in drafts):
        raise ConfigError(f"{label}: {where} needs a target and a list of drafts.", "Add them.")
    return PairEntry(
        name, table["target"], tuple(drafts), table.get("description", ""), table.get("tuned", False)
    )


def _table(label: str, section: str, name: str, table: Any) -> str:
    where = f"{section}.{name}"
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{label}: {name!r} cannot be a name.",
            "Use letters, digits, dot, dash and underscore; no spaces.",
        )
    if not isinstance(table, dict):
        raise ConfigError(f"{label}: {where} must be a table, not {table!r}.", f"Write [{section}.{name}].")
    return where


def _check_keys(label: str, where: str, table: Mapping[str, Any], known: Mapping[str, type]) -> None:
    place = f" in {where}" if where else ""
    for key, value in table.items():
        kind = known.get(key)
        if kind is None:
            near = nearest(key, known)
            hint = f"Did you mean {near[0]}?" if near else f"Known keys are {', '.join(known)}."
            raise ConfigError(f"{label}: unknown key {key!r}{place}.", hint)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            dotted = f"{where}.{key}" if where else key
            raise ConfigError(f"{label}: {dotted} is {value!r}.", f"It must be {_KINDS[kind]}.")


def _check_references(
    layer: _Layer, models: Mapping[str, ModelEntry], pairs: Mapping[str, PairEntry]
) -> None:
    both = models.keys() & pairs.keys()
    if both:
        raise ConfigError(f"{layer.label}: {min(both)!r} names a model and a pair.", "Rename one of them.")
    for pair in layer.pairs.values():
        for name in (pair.target, *pair.drafts):
            if name not in models and name != NGRAM:
                near = nearest(name, models)
                raise ConfigError(
                    f"{layer.label}: pairs.{pair.name} names the unknown model {name!r}.",
                    f"Did you mean {near[0]}?" if near else "Give it an entry under [models].",
                )
    if layer.default is not None and layer.default not in models and layer.default not in pairs:
        near = nearest(layer.default, [*models, *pairs])
        raise ConfigError(
            f"{layer.label}: default is the unknown name {layer.default!r}.",
            f"Did you mean {near[0]}?" if near else "Name a model or a pair.",
        )
