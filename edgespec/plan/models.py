"""Which models a plan is about: their headers where the files are here, else sketches from the catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgespec.catalog.candidates import PairTarget, find_candidates
from edgespec.catalog.compatibility import check_draft, check_writes_text
from edgespec.catalog.entries import NGRAM, Catalog, PairEntry
from edgespec.catalog.memory import available_memory_bytes
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.catalog.model_file import ModelFile
from edgespec.catalog.resolve import entry_of, find_on_disk, resolve_model
from edgespec.plan.sketch import label_of, sketch_metadata
from edgespec.session.loading import check_pair


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
    """A target and its drafts: those that are named, else the catalogue's that fit, else those on disk that do.

    Whether a draft fits is known where both files are here.

    Args:
        spec: A model or a pair of the catalogue, or a path.
        drafts: Names or paths.
        catalog: Where names are looked up.
        n_ctx: Tokens of context that a draft found on disk has to fit beside the target with.

    Raises:
        IncompatibleDraftError: A draft that was named cannot serve the target.
        ModelMissingError: There is not such a model.
        ModelFileError: A file is damaged, or the target writes no text.
        UsageError: One is not here, and the catalogue does not know its shape.
    """
    pair = catalog.find_pair(spec)
    name = pair.target if pair else spec
    target = plan_model(name, catalog)
    if target.is_here:
        check_writes_text(target.name, target.meta)
    if drafts:
        named = [plan_model(draft, catalog) for draft in dict.fromkeys(drafts)]
        for draft in named:
            if target.is_here and draft.is_here:
                check_pair(_file_of(target), _file_of(draft))
        return PlannedPair(target, tuple(named))
    proposed = [plan_model(draft, catalog) for draft in _known_drafts(pair, target, catalog)]
    fitting = [draft for draft in proposed if _may_serve(target, draft)]
    if not fitting and target.is_here:
        fitting = [plan_model(draft, catalog) for draft in _drafts_on_disk(name, catalog, n_ctx)]
    return PlannedPair(target, tuple(fitting))


def _may_serve(target: PlannedModel, draft: PlannedModel) -> bool:
    known = target.is_here and draft.is_here
    return not known or check_draft(target.meta, draft.meta).ok


def _file_of(model: PlannedModel) -> ModelFile:
    return ModelFile(model.name, model.meta.path, model.meta)


def _known_drafts(pair: PairEntry | None, target: PlannedModel, catalog: Catalog) -> list[str]:
    names = pair.drafts if pair else catalog.drafts_for(target.name)
    return [name for name in names if name != NGRAM]


def _drafts_on_disk(name: str, catalog: Catalog, n_ctx: int) -> list[str]:
    """Smaller models with a vocabulary that the target can use, the most promising first."""
    target = PairTarget.of(name, catalog)
    rows = find_candidates(target, catalog, n_ctx, available_memory_bytes())
    return [row.spec for row in rows if row.verdict in ("ok", "mapped") and (row.size_ratio or 1.0) < 1]
