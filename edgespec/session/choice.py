"""From names to files: which target, which drafts. Downloads what is named, never what is merely possible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgespec.catalog.entries import NGRAM, Catalog
from edgespec.catalog.model_file import ModelFile, open_file
from edgespec.catalog.resolve import find_on_disk, resolve_model
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import UsageError
from edgespec.progress import SILENT, Progress

AUTO_DRAFT, NONE = "auto", "none"
"""In place of a draft's name: the pair's own, and no model at all."""


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
    wanted: list[str] = []
    for draft in drafts:
        if draft == AUTO_DRAFT:
            chosen = pair.drafts[:1] if pair else _drafts_on_disk(known, target.name)
            wanted += [draft for draft in chosen if draft != NGRAM]
        elif draft not in (NONE, NGRAM):
            wanted.append(draft)
    files = [
        resolve_model(draft, known, offline=offline, progress=progress) for draft in dict.fromkeys(wanted)
    ]
    _check_names([file.name for file in files])
    known_acceptance = {file.name: known.acceptance_of(target.name, file.name) for file in files}
    return PairFiles(
        open_file(target.name, target.path),
        [open_file(file.name, file.path) for file in files],
        {name: share for name, share in known_acceptance.items() if share is not None},
    )


def _check_names(drafts: list[str]) -> None:
    for place, name in enumerate(drafts):
        if name in drafts[:place]:
            raise UsageError(f"two drafts are called {name!r}", "rename one of the files")


def _drafts_on_disk(catalog: Catalog, target_name: str) -> list[str]:
    names = catalog.drafts_for(target_name)
    return [name for name in names if find_on_disk(catalog.models[name]) is not None][:1]
