"""From what a user writes to a file on disk, fetching it where that is allowed."""

import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgespec import paths
from edgespec.catalog.entries import Catalog, ModelEntry
from edgespec.catalog.metadata import split_parts
from edgespec.catalog.model_file import ModelFile, open_file
from edgespec.catalog.sources import hub, hub_cache, wheels
from edgespec.errors import ConfigError, DownloadError, ModelMissingError
from edgespec.progress import SILENT, Progress

_log = logging.getLogger(__name__)

_HUB_SPEC = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?:(?P<file>[^:]+\.gguf)", re.ASCII | re.IGNORECASE
)
_HUB_TIMEOUT_S = 20.0
"""Bounds the wait for a hub's first answer."""
_HUB_TIMEOUT_WITH_WHEELS_S = 5.0
"""Less where the package index can be asked next."""

Origin = Literal["hub", "wheels", "file"]


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model with its file on this machine."""

    name: str
    path: Path
    """The first part of a split model."""
    entry: ModelEntry | None
    """What the catalogue says about it; None for a file that was named by its path."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that is on disk."""

    name: str
    path: Path
    size_bytes: int
    origin: Origin
    entry: ModelEntry | None


def resolve_model(
    spec: str,
    catalog: Catalog,
    *,
    offline: bool = False,
    download: bool = True,
    progress: Progress = SILENT,
) -> ResolvedModel:
    """Find the file of a model, fetching it if need be.

    Args:
        spec: A catalogue name, `owner/repo:file.gguf` (or `owner/repo@revision:file.gguf`), or a path.
        catalog: Where names are looked up.
        offline: Use only what is on disk; HF_HUB_OFFLINE has the same effect.
        download: Whether to fetch what is not on disk.
        progress: Gets stages for looking, fetching and checking, in bytes; none for what is on disk.

    Raises:
        ModelMissingError: Unknown, gated, or not on disk and not to be fetched.
        DownloadError: No source could deliver.
        HashMismatchError: What arrived is not the published file.
        DiskSpaceError: No room.
    """
    entry = entry_of(spec, catalog)
    if entry is None:
        return ResolvedModel(Path(spec).stem, _existing(Path(spec).expanduser()), None)
    if entry.path is not None:
        return ResolvedModel(entry.name, _existing(entry.path), entry)
    found = find_on_disk(entry)
    if found is not None:
        return ResolvedModel(entry.name, found.path, entry)
    offline = offline or hub.is_offline()
    if offline or not download:
        raise _not_here(entry, spec, offline=offline)
    path = _fetch(entry, progress)
    discard_arrived(entry)
    return ResolvedModel(entry.name, path, entry)


def open_model(
    spec: str,
    catalog: Catalog,
    *,
    offline: bool = False,
    download: bool = True,
    progress: Progress = SILENT,
) -> ModelFile:
    """Finds a model's file as `resolve_model` does, and reads its header.

    Raises:
        EdgespecError: any error of `resolve_model`.
        ModelFileError: the file is not a GGUF, or a damaged one.
    """
    found = resolve_model(spec, catalog, offline=offline, download=download, progress=progress)
    return open_file(found.name, found.path)


def find_on_disk(entry: ModelEntry) -> LocalModel | None:
    """An entry's file on this machine, wherever it came from; None when it is not (wholly) here.

    Raises:
        OSError: a file goes while it is looked at.
    """
    if entry.path is not None:
        return _local(entry, entry.path, "file") if entry.path.is_file() else None
    from_wheels = wheels.find_local(entry)
    if from_wheels is not None:
        return _local(entry, from_wheels, "wheels")
    cached = hub_cache.find_cached(entry)
    return _local(entry, cached[0], "hub") if cached else None


def local_models(catalog: Catalog) -> list[LocalModel]:
    """Catalogue models on disk, in catalogue order, then files in the models folder that no entry names."""
    found = [model for entry in catalog.models.values() if (model := find_on_disk(entry)) is not None]
    known = {model.path for model in found}
    strays = sorted(path for path in paths.models_dir().glob("*/*.gguf") if path not in known)
    return found + [
        LocalModel(
            path.parent.name, path, path.stat().st_size, "wheels", catalog.models.get(path.parent.name)
        )
        for path in strays
    ]


def arrived_bytes(entry: ModelEntry) -> int:
    """Bytes that a download which broke off has left, and that the next one goes on from; 0 for a whole model."""
    from_hub = sum(path.stat().st_size for path in hub_cache.find_arrived(entry))
    return max(from_hub, wheels.arrived_bytes(entry))


def discard_arrived(entry: ModelEntry) -> None:
    """Remove what downloads that broke off have left of a model; of a whole one nothing is touched.

    Raises:
        OSError: a file cannot be removed.
    """
    for path in hub_cache.find_arrived(entry):
        hub_cache.remove(path)
    wheels.discard_arrived(entry)


def find_removable(name: str, catalog: Catalog) -> LocalModel:
    """The model on disk that `remove_model` would delete.

    Raises:
        ModelMissingError: Unknown name, nothing of it on disk, or a file of the user's own.
    """
    for model in local_models(catalog):
        if model.name == name and model.origin != "file":
            return model
    entry = entry_of(name, catalog)
    if entry is None or entry.path is not None:
        raise ModelMissingError(
            f"{name} is a file of your own, not one that edgespec fetched.", "Delete it yourself."
        )
    found = find_on_disk(entry)
    if found is None:
        raise ModelMissingError(f"Nothing of {name} is on disk.", "`edgespec models` shows what is.")
    return found


def remove_model(name: str, catalog: Catalog) -> int:
    """Delete a model's files from the models folder and from the shared hub cache.

    A file that the user's own catalogue names by its path is the user's: it is never deleted.

    Returns:
        The number of bytes freed.

    Raises:
        ModelMissingError: As `find_removable`.
    """
    model = find_removable(name, catalog)
    freed = 0
    folder = paths.models_dir() / name
    if _is_plain_name(name) and folder.is_dir():
        freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder)
    entry = model.entry
    return freed + sum(hub_cache.remove(path) for path in (hub_cache.find_cached(entry) if entry else ()))


def _is_plain_name(name: str) -> bool:
    # Nothing that could lead out of the models folder.
    return re.fullmatch(r"[\w][\w.-]*", name, re.ASCII) is not None


def entry_of(spec: str, catalog: Catalog) -> ModelEntry | None:
    """The entry that a spec means, made up for `owner/repo:file.gguf`; None when it means a path.

    Raises:
        ModelMissingError: A name that nothing has; the hint names the nearest.
    """
    if spec in catalog.models:
        return catalog.models[spec]
    match = _HUB_SPEC.fullmatch(spec)
    if match is not None and not Path(spec).exists():
        return ModelEntry(spec, repo=match["repo"], file=match["file"], revision=match["revision"])
    looks_like_path = spec.lower().endswith(".gguf") or Path(spec).name != spec or Path(spec).is_file()
    return None if looks_like_path else catalog.get_model(spec)


def _existing(path: Path) -> Path:
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise ModelMissingError(
            f"The file {path} {kind}.",
            "Name a .gguf file, a name of `edgespec models`, or owner/repo:file.gguf.",
        )
    return split_parts(path)[0]


def _fetch(entry: ModelEntry, progress: Progress) -> Path:
    source = os.environ.get("EDGESPEC_SOURCE", "").strip().lower()
    if source not in {"", "hub", "wheels"}:
        raise ConfigError(f"EDGESPEC_SOURCE is {source!r}.", "It can be hub or wheels, or be unset.")
    if entry.wheels is not None and (source == "wheels" or entry.repo is None):
        return wheels.download(entry, progress=progress)
    if entry.wheels is None or source == "hub":
        return hub.download(entry, progress=progress, timeout_s=_HUB_TIMEOUT_S)
    try:
        return hub.download(entry, progress=progress, timeout_s=_HUB_TIMEOUT_WITH_WHEELS_S)
    except DownloadError as error:
        _log.info("%s Taking wheels of the package index instead.", error.message)
        hub_said = error.message
    try:
        return wheels.download(entry, progress=progress)
    except DownloadError as error:
        raise DownloadError(f"{error.message} Before that: {hub_said}", error.hint) from None


def _not_here(entry: ModelEntry, spec: str, *, offline: bool) -> ModelMissingError:
    if offline:
        return ModelMissingError(
            f"{spec} is not on this machine, and offline mode forbids fetching it.",
            f"Run `edgespec models pull {spec}` once with a network.",
        )
    return ModelMissingError(f"{spec} is not on this machine.", f"Run `edgespec models pull {spec}`.")


def _local(entry: ModelEntry, path: Path, origin: Origin) -> LocalModel:
    size = sum(part.stat().st_size for part in split_parts(path))
    return LocalModel(entry.name, path, size, origin, entry)
