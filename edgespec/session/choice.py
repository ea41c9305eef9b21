"""From names to files: which target, which drafts. Downloads what is named, never what is merely possible."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgespec.catalog.compatibility import check_draft
from edgespec.catalog.entries import NGRAM, Catalog
from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.model_file import ModelFile, open_file
from edgespec.catalog.resolve import find_on_disk, resolve_model
from edgespec.catalog.toml_file import load_catalog
from edgespec.decode.policy import Mode
from edgespec.errors import EdgespecError, UsageError
from edgespec.progress import SILENT, Progress

log = logging.getLogger(__name__)

AUTO_DRAFT, NONE = "auto", "none"
"""In place of a draft's name: the pair's own, and no model at all."""


def mode_for(draft: str) -> Mode:
    """What may draft where a draft was asked for like that."""
    return {NONE: Mode.OFF, NGRAM: Mode.NGRAM}.get(draft, Mode.AUTO)


@dataclass(frozen=True, slots=True)
class PairFiles:
    """A target and the drafts that were chosen for it."""

    target: ModelFile
    drafts: list[ModelFile]
    acceptance: Mapping[str, float]
    """What the catalogue knows of the drafts with this target, by their names."""


def choose_files(
    spec: str | None,
    drafts: Sequence[str] = (AUTO_DRAFT,),
    *,
    offline: bool = False,
    progress: Progress = SILENT,
) -> PairFiles:
    """Finds the files of a pair.

    Args:
        spec: A pair's or a model's name in the catalogue, a model of the hub such as
            `owner/repo:Q4_K_M`, or a path; None for the catalogue's default.
        drafts: Names like `spec`, or `auto` (the pair's own draft; for a single model what is on disk already),
            `ngram` and `none` (no model draft).
        offline: Use only what is on disk.
        progress: Gets stages for looking, fetching and checking, in bytes.

    Raises:
        ConfigError: the catalogue or EDGESPEC_SOURCE makes no sense.
        DiskSpaceError: a model does not fit the disk.
        DownloadError: a source did not deliver.
        ModelFileError: a file is not a GGUF, or a damaged one.
        ModelMissingError: there is no such model, or it may not be fetched now.
        UsageError: two drafts have one name, and nothing could tell them apart.
    """
    known = load_catalog()
    name = spec or known.default
    progress.stage("looking for the models", unit="bytes")
    pair = known.find_pair(name)
    target = resolve_model(pair.target if pair else name, known, offline=offline, progress=progress)
    target_file = open_file(target.name, target.path, target.entry)
    wanted: list[str] = []
    for draft in drafts:
        if draft == AUTO_DRAFT:
            chosen = pair.drafts[:1] if pair else _drafts_on_disk(known, target_file)
            wanted += [draft for draft in chosen if draft != NGRAM]
        elif draft not in (NONE, NGRAM):
            wanted.append(draft)
    files = [
        resolve_model(draft, known, offline=offline, progress=progress) for draft in dict.fromkeys(wanted)
    ]
    _check_names([file.name for file in files])
    known_acceptance = {file.name: known.acceptance_of(target.name, file.name) for file in files}
    return PairFiles(
        target_file,
        [open_file(file.name, file.path) for file in files],
        {name: share for name, share in known_acceptance.items() if share is not None},
    )


def _check_names(drafts: list[str]) -> None:
    for place, name in enumerate(drafts):
        if name in drafts[:place]:
            raise UsageError(f"two drafts are called {name!r}", "rename one of the files")


def _drafts_on_disk(catalog: Catalog, target: ModelFile) -> list[str]:
    """The first of the target's drafts by catalogue that is here and can serve it."""
    for name in catalog.drafts_for(target.name):
        found = find_on_disk(catalog.models[name])
        if found is not None and _can_draft(target, found.path):
            return [name]
    return []


def _can_draft(target: ModelFile, path: Path) -> bool:
    try:
        verdict = check_draft(target.meta, read_metadata(path))
    except EdgespecError as error:
        log.warning("not drafting with %s: %s", path.name, error.message)
        return False
    if not verdict.ok:
        log.warning("not drafting with %s: %s", path.name, verdict.reason)
    return verdict.ok
