"""Which models could draft for a target, and why others cannot: from files' headers, nothing is loaded or fetched."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgespec.catalog.compatibility import check_draft
from edgespec.catalog.entries import Catalog, ModelEntry
from edgespec.catalog.gguf_names import is_model
from edgespec.catalog.memory import estimate_as_draft, estimate_as_target
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.catalog.model_file import UNREADABLE, why_unreadable
from edgespec.catalog.resolve import find_on_disk, local_models, resolve_model

Verdict = Literal["ok", "mapped", "unchecked", "refused", "unreadable"]

_PAIRED: Final = "not on disk; same family by catalogue"
_VERDICT_ORDER: Final = ("ok", "mapped", "unchecked", "refused", "unreadable")
_VERDICTS: Final[dict[str, Verdict]] = {"same-vocabulary": "ok", "token-map": "mapped", "refused": "refused"}


@dataclass(frozen=True, slots=True)
class DraftCandidate:
    """A model that may draft, with the verdict on it."""

    name: str
    path: Path | None
    """None where the file is not here."""
    verdict: Verdict
    reason: str
    """In a clause."""
    size_bytes: int | None
    size_ratio: float | None
    """Draft's bytes over the target's."""
    memory_bytes: int | None
    """Both models loaded."""
    fits: bool | None
    spec: str
    """What opens it: its name, or its path."""


@dataclass(frozen=True, slots=True)
class PairTarget:
    """The target: its header where the file is here, else what the catalogue says."""

    name: str
    path: Path | None
    """None where the file is not here."""
    size_bytes: int | None
    meta: GgufMetadata | None
    """None where the file is not here."""
    about_bytes: int | None
    """What it is compared by: `size_bytes`, or what its weights are likely to take."""

    @classmethod
    def of(cls, name: str, catalog: Catalog) -> "PairTarget":
        """The target of that name, or the file at that path; nothing is fetched.

        Raises:
            ModelFileError: the file is not a GGUF, or a damaged one.
            ModelMissingError: there is no such model.
        """
        entry = catalog.models.get(name)
        if entry is not None and find_on_disk(entry) is None:
            return cls(name, None, entry.size_bytes, None, entry.about_bytes)
        resolved = resolve_model(name, catalog, download=False)
        meta = read_metadata(resolved.path)
        return cls(resolved.name, meta.path, meta.file_bytes, meta, meta.file_bytes)


def find_candidates(
    target: PairTarget, catalog: Catalog, ctx_size: int, free_bytes: int
) -> list[DraftCandidate]:
    """Every model that could be asked to draft for `target`, the best first, those that cannot last.

    Of models that are not here, one that is not smaller than its target is none, unless the catalogue pairs them.

    Args:
        target: Whom they would draft for.
        catalog: Where models are looked for, besides the target's own folder.
        ctx_size: Tokens of context that both would be opened with.
        free_bytes: Memory that both have to fit into.

    Returns:
        By verdict (ok, mapped, unchecked, refused, unreadable), within it the catalogue's own pairs first, then by size.
    """
    return sorted(_rows(target, catalog, ctx_size, free_bytes), key=_rank)


def _rows(target: PairTarget, catalog: Catalog, ctx_size: int, free: int) -> Iterator[DraftCandidate]:
    paired = set(catalog.drafts_for(target.name))
    here = local_models(catalog)
    for model in here:
        if model.path != target.path:
            yield _checked(target, model.name, model.path, model.spec, ctx_size, free)
    seen = {model.path.resolve() for model in here}
    for path in _files_beside(target):
        if path.resolve() not in seen:
            yield _checked(target, path.name, path, str(path), ctx_size, free)
    for entry in catalog.models.values():
        if entry.name == target.name or find_on_disk(entry) is not None:
            continue
        row = _unchecked(target, entry, is_paired=entry.name in paired)
        # A model that is not smaller than the target is not a candidate, unless the catalogue says so.
        if entry.name in paired or row.size_ratio is None or row.size_ratio < 1:
            yield row


def _files_beside(target: PairTarget) -> list[Path]:
    """Other models in the target's own folder."""
    if target.path is None:
        return []
    found = sorted(target.path.parent.glob("*.gguf"))
    return [path for path in found if is_model(path.name) and path != target.path]


def _checked(
    target: PairTarget, name: str, path: Path, spec: str, ctx_size: int, free: int
) -> DraftCandidate:
    try:
        return _judged(target, name, path, spec, ctx_size, free)
    except UNREADABLE as error:
        return DraftCandidate(name, path, "unreadable", why_unreadable(error), None, None, None, None, spec)


def _judged(target: PairTarget, name: str, path: Path, spec: str, ctx_size: int, free: int) -> DraftCandidate:
    draft = read_metadata(path)
    ratio = _ratio(draft.file_bytes, target.about_bytes)
    if target.meta is None:
        reason = "the target is not on disk, so its vocabulary is not known"
        return DraftCandidate(name, path, "unchecked", reason, draft.file_bytes, ratio, None, None, spec)
    verdict = check_draft(target.meta, draft)
    memory = (
        estimate_as_target(target.meta, ctx_size).total_bytes + estimate_as_draft(draft, ctx_size).total_bytes
    )
    kind = _VERDICTS[verdict.kind]
    return DraftCandidate(
        name, path, kind, verdict.reason, draft.file_bytes, ratio, memory, memory <= free, spec
    )


def _unchecked(target: PairTarget, entry: ModelEntry, *, is_paired: bool) -> DraftCandidate:
    reason = _PAIRED if is_paired else "not on disk"
    ratio = _ratio(entry.about_bytes, target.about_bytes)
    return DraftCandidate(
        entry.name, None, "unchecked", reason, entry.size_bytes, ratio, None, None, entry.name
    )


def _ratio(draft_bytes: int | None, target_bytes: int | None) -> float | None:
    return round(draft_bytes / target_bytes, 4) if draft_bytes and target_bytes else None


def _rank(row: DraftCandidate) -> tuple[int, bool, float, str]:
    # Within a verdict the catalogue's own pairs first, then the smaller draft: it proposes faster.
    return _VERDICT_ORDER.index(row.verdict), row.reason != _PAIRED, row.size_ratio or float("inf"), row.name
