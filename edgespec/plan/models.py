"""Which models a plan is about: their headers where the files are here, else sketches from the catalogue."""

from edgespec.catalog.candidates import PairTarget, find_candidates
from edgespec.catalog.entries import NGRAM, Catalog
from edgespec.catalog.memory import available_memory_bytes
from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.resolve import entry_of, find_on_disk, resolve_model
from edgespec.plan.prediction import PlannedModel
from edgespec.plan.sketch import label_of, sketch_metadata


def plan_model(spec: str, catalog: Catalog) -> PlannedModel:
    """A model by name or path; nothing is fetched.

    Raises:
        ModelMissingError: there is no such model.
        UsageError: it is not here, and the catalogue does not know its shape.
    """
    entry = entry_of(spec, catalog)
    if entry is not None and find_on_disk(entry) is None and entry.path is None:
        known = [name for name, other in catalog.models.items() if other.shape is not None]
        return PlannedModel(
            entry.name, sketch_metadata(entry, known), False, label_of(entry.file_name) or "?"
        )
    resolved = resolve_model(spec, catalog, download=False)
    meta = read_metadata(resolved.path)
    return PlannedModel(resolved.name, meta, True, meta.quantization)


def plan_pair(
    spec: str, drafts: list[str], catalog: Catalog, n_ctx: int
) -> tuple[PlannedModel, list[PlannedModel]]:
    """A target and its drafts: those that are named, else the catalogue's, else those on disk that fit.

    Raises:
        ModelMissingError: there is no such model.
        UsageError: one is not here, and the catalogue does not know its shape.
    """
    pair = catalog.find_pair(spec)
    name = pair.target if pair else spec
    target = plan_model(name, catalog)
    chosen = drafts or [
        name for name in (pair.drafts if pair else catalog.drafts_for(target.name)) if name != NGRAM
    ]
    if not chosen and target.is_here:
        subject = PairTarget.of(name, catalog)
        rows = find_candidates(subject, catalog, n_ctx, available_memory_bytes())
        fitting = [row for row in rows if row.verdict in ("ok", "mapped") and (row.size_ratio or 1.0) < 1]
        chosen = [row.spec_in(catalog) for row in fitting]
    return target, [plan_model(draft, catalog) for draft in dict.fromkeys(chosen)]
