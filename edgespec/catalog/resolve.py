"""From what a user writes to a file on disk, fetching it where that is allowed."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgespec import paths
from edgespec.catalog.entries import Catalog, ModelEntry
from edgespec.catalog.gguf_names import choose_model, part_names
from edgespec.catalog.hub_spec import HubSpec, parse_hub_spec
from edgespec.catalog.model_file import ModelFile, open_file
from edgespec.catalog.sources import hub, hub_cache, programs, wheels
from edgespec.catalog.sources.arrived import discard_arrived
from edgespec.catalog.split_files import split_parts
from edgespec.errors import ConfigError, DownloadError, ModelMissingError
from edgespec.progress import SILENT, Progress

_log = logging.getLogger(__name__)

_HUB_TIMEOUT_S = 20.0
"""Bounds the wait for a hub's first answer."""
_HUB_TIMEOUT_WITH_WHEELS_S = 5.0
"""Less where the package index can be asked next."""

Origin = Literal["hub", "wheels", "made", "file"] | programs.Program


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
    """None where the catalogue does not name it."""
    spec: str
    """What opens it: its name, or its path."""


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
        spec: A catalogue name, a model of the hub (`owner/repo:QUANT`, `owner/repo:file.gguf`, an address: see
            `hub_spec`), `ollama:NAME`, or a path.
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
    if spec.startswith(programs.OLLAMA):
        return ResolvedModel(spec, _of_ollama(spec), None)
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
    if entry.file is None and entry.wheels is None:
        asked = parse_hub_spec(entry.name)
        entry = hub.choose_file(entry, asked.quant if asked else None, timeout_s=_HUB_TIMEOUT_S)
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
    return open_file(found.name, found.path, found.entry)


def find_on_disk(entry: ModelEntry, folders: programs.Folders | None = None) -> LocalModel | None:
    """An entry's file on this machine, wherever it came from; None when it is not (wholly) here.

    Args:
        entry: The model.
        folders: Of other programs, for whoever looks for many models.

    Raises:
        OSError: a file goes while it is looked at.
    """
    if entry.path is not None:
        return _local(entry, entry.path, "file") if entry.path.is_file() else None
    from_wheels = wheels.find_local(entry)
    if from_wheels is not None:
        return _local(entry, from_wheels, "wheels")
    cached = hub_cache.find_cached(entry)
    if cached:
        return _local(entry, cached[0], "hub")
    elsewhere = programs.find_model(entry, folders)
    return _local(entry, elsewhere.path, elsewhere.program) if elsewhere else None


def local_models(catalog: Catalog) -> list[LocalModel]:
    """Every model on disk, once: the catalogue's in its order, then what no entry means.

    That is what else lies in the models folder, what the workshop made, and what is in the hub's cache and with other programs.
    """
    folders = programs.find_folders()
    found = [
        model for entry in catalog.models.values() if (model := find_on_disk(entry, folders)) is not None
    ]
    seen = {model.path.resolve() for model in found}
    for stray in _strays(catalog):
        if stray.path.resolve() not in seen:
            seen.add(stray.path.resolve())
            found.append(stray)
    return found


def _strays(catalog: Catalog) -> Iterator[LocalModel]:
    """What no entry means."""
    for path in sorted(paths.models_dir().glob("*/*.gguf")):
        name = path.parent.name
        yield LocalModel(
            name, path, _size_as_far_as_it_is_here(path), "wheels", catalog.models.get(name), str(path)
        )
    for path in sorted(paths.made_dir().glob("*.gguf")):
        yield LocalModel(path.stem, path, _size_as_far_as_it_is_here(path), "made", None, str(path))
    for name, path in hub_cache.list_cached():
        yield LocalModel(name, path, _size_as_far_as_it_is_here(path), "hub", None, name)
    for model in programs.list_models():
        size = _size_as_far_as_it_is_here(model.path)
        yield LocalModel(model.name, model.path, size, model.program, None, model.name)


def _size_as_far_as_it_is_here(path: Path) -> int:
    # Who opens it is told of parts that are missing; a list goes on.
    return sum(
        part.stat().st_size for name in part_names(path.name) if (part := path.with_name(name)).is_file()
    )


def entry_of(spec: str, catalog: Catalog) -> ModelEntry | None:
    """The entry that a spec means, made up for a model of the hub; None when it means a path or a model of ollama.

    Where a repository is named without a file, the entry's file is one that is here and fits, else None.

    Raises:
        ModelMissingError: A name that nothing has, the hint names the nearest; or an address that is not the hub's.
    """
    if spec in catalog.models:
        return catalog.models[spec]
    if spec.startswith(programs.OLLAMA):
        return None
    asked = parse_hub_spec(spec)
    if asked is not None:
        file = asked.file or choose_model(_files_here(asked), asked.quant)
        return ModelEntry(asked.name, repo=asked.repo, file=file, revision=asked.revision)
    looks_like_path = spec.lower().endswith(".gguf") or Path(spec).name != spec or Path(spec).is_file()
    return None if looks_like_path else catalog.get_model(spec)


def _files_here(asked: HubSpec) -> list[str]:
    cached = hub_cache.list_files(asked.repo, asked.revision)
    return cached if asked.revision else [*cached, *programs.list_files(asked.repo)]


def _of_ollama(spec: str) -> Path:
    found = programs.find_named(spec)
    if found is None:
        raise ModelMissingError(
            f"ollama has no model {spec.removeprefix(programs.OLLAMA)} here",
            "`edgespec models` lists what it has",
        )
    return found


def _existing(path: Path) -> Path:
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise ModelMissingError(
            f"the file {path} {kind}",
            "name a .gguf file, a name of `edgespec models`, or owner/repo:Q4_K_M",
        )
    return split_parts(path)[0]


def _fetch(entry: ModelEntry, progress: Progress) -> Path:
    source = os.environ.get("EDGESPEC_SOURCE", "").strip().lower()
    if source not in {"", "hub", "wheels"}:
        raise ConfigError(f"EDGESPEC_SOURCE is {source!r}", "it can be hub or wheels, or be unset")
    if entry.wheels is not None and (source == "wheels" or entry.repo is None):
        return wheels.download(entry, progress=progress)
    if entry.wheels is None or source == "hub":
        return hub.download(entry, progress=progress, timeout_s=_HUB_TIMEOUT_S)
    try:
        return hub.download(entry, progress=progress, timeout_s=_HUB_TIMEOUT_WITH_WHEELS_S)
    except DownloadError as error:
        _log.info("%s. Taking wheels of the package index instead.", error.message)
        hub_said = error.message
    try:
        return wheels.download(entry, progress=progress)
    except DownloadError as error:
        raise DownloadError(f"{error.message}. Before that: {hub_said}", error.hint) from None


def _not_here(entry: ModelEntry, spec: str, *, offline: bool) -> ModelMissingError:
    if offline:
        return ModelMissingError(
            f"{spec} is not on this machine, and offline mode forbids fetching it",
            f"run `edgespec models pull {spec}` once with a network",
        )
    return ModelMissingError(f"{spec} is not on this machine", f"run `edgespec models pull {spec}`")


def _local(entry: ModelEntry, path: Path, origin: Origin) -> LocalModel:
    return LocalModel(entry.name, path, _size_as_far_as_it_is_here(path), origin, entry, entry.name)
