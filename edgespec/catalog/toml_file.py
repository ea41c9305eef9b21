"""Reading models.toml: the shipped file, the user's own over it, and what an entry must hold to make sense."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from edgespec import paths
from edgespec.catalog.dimensions import ARCHITECTURES, RECURRENT, WINDOWED, Dimensions
from edgespec.catalog.entries import NGRAM, Catalog, ModelEntry, PairEntry, WheelSource
from edgespec.catalog.own_sampling import LISTED, makes_sense
from edgespec.documents import build, read_toml
from edgespec.errors import ConfigError
from edgespec.text import nearest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BRACES = re.compile(r"\{[nk](?::0\d+d)?\}")


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one file says."""

    default: str | None = None
    suggested: tuple[str, ...] | None = None
    models: dict[str, ModelEntry] = field(default_factory=dict)
    pairs: dict[str, PairEntry] = field(default_factory=dict)


def load_catalog() -> Catalog:
    """The shipped models.toml with the user's own file laid over it, entry by entry.

    Raises:
        ConfigError: A file that is not TOML, an unknown key, a value of the wrong kind, a pair of unknown models.
    """
    shipped, own = _shipped_file(), paths.user_catalog_file()
    catalog = _lay_over(Catalog({}, {}, ""), shipped)
    if own.is_file():
        catalog = _lay_over(catalog, own)
    if not catalog.default:
        raise ConfigError(f"{shipped} names no default model", 'add a line default = "NAME"')
    return catalog


def _shipped_file() -> Traversable | Path:
    packaged = resources.files("edgespec").joinpath("data").joinpath("models.toml")
    if packaged.is_file():
        return packaged
    # A source tree or an editable install: the file stands at the top of the repository.
    return Path(__file__).resolve().parents[2] / "models.toml"


def _lay_over(below: Catalog, source: Traversable | Path) -> Catalog:
    """The catalogue with what a file says, which may name what is below it."""
    label = str(source)
    layer = build(_Layer, read_toml(source), label, known_only=True, hint="correct that line")
    for problem, hint in _problems(layer):
        raise ConfigError(f"{label}: {problem}", hint)
    models = {name: _placed(entry, Path(label).parent) for name, entry in layer.models.items()}
    catalog = Catalog(
        {**below.models, **models},
        {**below.pairs, **layer.pairs},
        layer.default or below.default,
        below.suggested if layer.suggested is None else layer.suggested,
    )
    for problem, hint in _reference_problems(layer, catalog):
        raise ConfigError(f"{label}: {problem}", hint)
    return catalog


def _placed(entry: ModelEntry, folder: Path) -> ModelEntry:
    # A relative path starts at the file that names it, not at the folder the user happens to be in.
    return entry if entry.path is None else replace(entry, path=folder / entry.path.expanduser())


def _problems(layer: _Layer) -> Iterator[tuple[str, str]]:
    """What is wrong with single entries, each with a way out."""
    for name in (*layer.models, *layer.pairs):
        if not _NAME.fullmatch(name):
            yield f"{name!r} cannot be a name", "use letters, digits, dot, dash and underscore; no spaces"
    for name, entry in layer.models.items():
        yield from _model_problems(f"models.{name}", entry)
    for name, pair in layer.pairs.items():
        if not pair.drafts:
            yield f"pairs.{name}.drafts is empty", "name one or more"
        if len(pair.acceptance) > len(pair.drafts) or not all(0.0 < one < 1.0 for one in pair.acceptance):
            yield (
                f"pairs.{name}.acceptance is {list(pair.acceptance)}",
                "give one share between 0 and 1 for each draft, or none",
            )


def _model_problems(where: str, entry: ModelEntry) -> Iterator[tuple[str, str]]:
    if entry.path is None and entry.wheels is None and not (entry.repo and entry.file):
        yield f"{where} has neither repo and file nor wheels nor path", "say where the model is"
    for digest in (*entry.part_sha256, *([] if entry.sha256 is None else [entry.sha256])):
        if not _SHA256.fullmatch(digest):
            yield f"{where} has the hash {digest!r}", "a sha256 is 64 lower-case hexadecimal digits"
    if entry.repo is not None and entry.repo.count("/") != 1:
        yield f"{where}.repo is {entry.repo!r}", "write it as owner/name"
    if entry.part_sha256 and len(entry.part_sha256) != len(entry.repo_files):
        counts = f"{len(entry.repo_files)} files and {len(entry.part_sha256)} part_sha256"
        yield f"{where} has {counts}", "give one for each part, or none"
    if entry.wheels is not None:
        yield from _wheel_problems(f"{where}.wheels", entry.wheels)
    for key, value in entry.sampling.items():
        if key not in LISTED:
            yield (
                f"{where}.sampling has the unknown key {key!r}",
                f"known keys are {', '.join(sorted(LISTED))}",
            )
        elif not makes_sense(key, value):
            yield f"{where}.sampling.{key} is {value:g}, which is out of range", "correct it, or leave it out"
    if entry.shape is not None:
        yield from _shape_problems(f"{where}.shape", entry.shape)


def _wheel_problems(where: str, source: WheelSource) -> Iterator[tuple[str, str]]:
    for key, text in (("project", source.project), ("member", source.member)):
        rest = _BRACES.sub("", text)
        if "{" in rest or "}" in rest:
            yield f"{where}.{key} is {text!r}", "only {n} or {k} may stand in braces, as {n:02d} too"
    if source.parts < 1:
        yield f"{where}.parts is {source.parts}", "it must be 1 or more"


def _shape_problems(where: str, shape: Dimensions) -> Iterator[tuple[str, str]]:
    yield from _size_problems(where, asdict(shape), _sizes_wanted(Dimensions))
    arch = shape.architecture
    if arch not in ARCHITECTURES:
        known = _did_you_mean(arch, ARCHITECTURES) or f"known are {', '.join(sorted(ARCHITECTURES))}"
        yield f"{where}.architecture is {arch!r}, whose tensors are not known", known
    for key, part, having in (
        ("window", shape.window, WINDOWED),
        ("recurrent", shape.recurrent, RECURRENT),
    ):
        if part is not None:
            yield from _size_problems(f"{where}.{key}", asdict(part), _sizes_wanted(type(part)))
            if arch not in having:
                yield f"{where}.{key} does not go with {arch}", f"it goes with {', '.join(sorted(having))}"
    if shape.experts is not None:
        yield from _size_problems(
            f"{where}.experts", asdict(shape.experts), _sizes_wanted(type(shape.experts))
        )


def _sizes_wanted(kind: type) -> set[str]:
    """Fields that are sizes and have no default: those that have one may be 0."""
    return {one.name for one in fields(kind) if one.default is MISSING}


def _size_problems(where: str, sizes: dict[str, object], wanted: set[str]) -> Iterator[tuple[str, str]]:
    for key, size in sizes.items():
        if isinstance(size, int) and size < (1 if key in wanted else 0):
            yield f"{where}.{key} is {size}", f"it must be {1 if key in wanted else 0} or more"


def _reference_problems(layer: _Layer, catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Names in a file that stand for nothing, or for two things."""
    both = catalog.models.keys() & catalog.pairs.keys()
    if both:
        yield f"{min(both)!r} names a model and a pair", "rename one of them"
    for pair in layer.pairs.values():
        for name in (pair.target, *pair.drafts):
            if name not in catalog.models and name != NGRAM:
                yield (
                    f"pairs.{pair.name} names the unknown model {name!r}",
                    _did_you_mean(name, catalog.models) or "give it an entry under [models]",
                )
    for name in layer.suggested or ():
        if name not in catalog.models:
            yield (
                f"suggested names the unknown model {name!r}",
                _did_you_mean(name, catalog.models) or "give it an entry under [models]",
            )
    names = [*catalog.models, *catalog.pairs]
    if layer.default is not None and layer.default not in names:
        yield (
            f"default is the unknown name {layer.default!r}",
            _did_you_mean(layer.default, names) or "name a model or a pair",
        )


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near[0]}?" if near else ""
