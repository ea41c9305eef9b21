"""Which models a plan is about: their headers where the files are here, else sketches from the catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgespec.catalog.candidates import PairTarget, find_candidates
from edgespec.catalog.entries import NGRAM, Catalog, PairEntry
from edgespec.catalog.memory import available_memory_bytes
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.catalog.resolve import entry_of, find_on_disk, resolve_model
from edgespec.plan.sketch import label_of, sketch_metadata


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model to predict for."""

    name: str
    meta: GgufMetadata
    """Its file's header, or a sketch of it where the file is not here."""
    is_here: bool
    quantization: str
    """Such as `Q4_K_M`."""


@dataclass(frozen=True, slots=True)
class PlannedPair:
    """A target with the drafts to predict for; there may be none."""

    target: PlannedModel
    drafts: tuple[PlannedModel, ...] = ()


def plan_model(spec: str, catalog: Catalog) -> PlannedModel:
    """A model by name or path; nothing is fetched.

    Raises:
        ModelMissingError: There is not such a model.
        ModelFileError: Its file is damaged.
        UsageError: It is not here, and the catalogue does not know its shape.
    """
    entry = entry_of(spec, catalog)
    if entry is not None and find_on_disk(entry) is None and entry.path is None:
        known = [name for name, other in catalog.models.items() if other.shape is not None]
        sketch = sketch_metadata(entry, known)
        return PlannedModel(entry.name, sketch, False, label_of(entry.file_name) or "?")
    resolved = resolve_model(spec, catalog, download=False)
    meta = read_metadata(resolved.path)
    return PlannedModel(resolved.name, meta, True, meta.quantization)


def plan_pair(spec: str, drafts: Sequence[str], catalog: Catalog, n_ctx: int) -> PlannedPair:
    """A target and its drafts: those that are named, else the catalogue's, else those on disk that fit.

    Args:
        spec: A model or a pair of the catalogue, or a path.
        drafts: Names or paths.
        catalog: Where names are looked up.
        n_ctx: Tokens of context that a draft found on disk has to fit beside the target with.

    Raises:
        ModelMissingError: There is not such a model.
        ModelFileError: A file is damaged.
        UsageError: One is not here, and the catalogue does not know its shape.
    """
    pair = catalog.find_pair(spec)
    name = pair.target if pair else spec
    target = plan_model(name, catalog)
    chosen = drafts or _known_drafts(pair, target, catalog)
    if not chosen and target.is_here:
        chosen = _drafts_on_disk(name, catalog, n_ctx)
    return PlannedPair(target, tuple(plan_model(draft, catalog) for draft in dict.fromkeys(chosen)))


def _known_drafts(pair: PairEntry | None, target: PlannedModel, catalog: Catalog) -> list[str]:
    names = pair.drafts if pair else catalog.drafts_for(target.name)
    return [name for name in names if name != NGRAM]


def _drafts_on_disk(name: str, catalog: Catalog, n_ctx: int) -> list[str]:
    """Smaller models with a vocabulary that the target can use, the most promising first."""
    target = PairTarget.of(name, catalog)
    rows = find_candidates(target, catalog, n_ctx, available_memory_bytes())
    return [row.spec for row in rows if row.verdict in ("ok", "mapped") and (row.size_ratio or 1.0) < 1]
