"""Deletes models that edgespec fetched or made, and nobody else's."""

import re
import shutil

from edgespec import paths
from edgespec.catalog.entries import Catalog
from edgespec.catalog.resolve import LocalModel, entry_of, find_on_disk, local_models
from edgespec.catalog.sources import hub_cache
from edgespec.errors import ModelMissingError


def find_removable(name: str, catalog: Catalog) -> LocalModel:
    """The model on disk that `remove_model` would delete.

    Raises:
        ModelMissingError: Unknown name, nothing of it on disk, or a file of the user's own.
    """
    for model in local_models(catalog):
        if model.name == name and model.origin != "file":
            return _checked_removable(model)
    entry = entry_of(name, catalog)
    if entry is None or entry.path is not None:
        raise ModelMissingError(
            f"{name} is a file of your own, not one that edgespec fetched", "delete it yourself"
        )
    found = find_on_disk(entry)
    if found is None:
        raise ModelMissingError(f"nothing of {name} is on disk", "`edgespec models` shows what is")
    return _checked_removable(found)


def _checked_removable(model: LocalModel) -> LocalModel:
    if model.origin not in ("hub", "wheels", "made"):
        raise ModelMissingError(f"{model.name} belongs to {model.origin}", "delete it there")
    return model


def remove_model(name: str, catalog: Catalog) -> int:
    """Delete a model's files from the models folder, from the workshop's, and from the shared hub cache.

    A file that the user's own catalogue names by its path is the user's: it is never deleted.

    Returns:
        The number of bytes freed.

    Raises:
        ModelMissingError: As `find_removable`.
    """
    model = find_removable(name, catalog)
    if model.origin == "made":
        model.path.unlink()
        return model.size_bytes
    freed = 0
    folder = paths.models_dir() / name
    if _is_plain_name(name) and folder.is_dir():
        freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder)
    entry = model.entry or entry_of(model.spec, catalog)
    return freed + sum(hub_cache.remove(path) for path in (hub_cache.find_cached(entry) if entry else ()))


def _is_plain_name(name: str) -> bool:
    # Nothing that could lead out of the models folder.
    return re.fullmatch(r"[\w][\w.-]*", name, re.ASCII) is not None
