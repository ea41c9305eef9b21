"""Which models a request may name: those of the command line, and what is on this machine already. Nothing is fetched for a request."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgespec.catalog.entries import Catalog
from edgespec.catalog.hub_spec import parse_hub_spec
from edgespec.catalog.resolve import LocalModel, entry_of, find_on_disk, local_models
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import EdgespecError
from edgespec.serve.errors import ApiError
from edgespec.text import nearest


@dataclass(frozen=True, slots=True)
class Served:
    """A model that may be asked for."""

    id: str
    """What the list calls it."""
    spec: str | None
    """What opens it; None for the catalogue's default."""
    draft: str = "auto"
    path: Path | None = None
    """Of the target's file, where that is known."""
    may_fetch: bool = False
    """It was named by whoever started the server."""


class Registry:
    """Finds models by the names that requests have for them.

    Args:
        own: Those that the server was started with; a request that names none gets the first.
        aliases: Other names for the first.
    """

    def __init__(self, own: Sequence[Served], aliases: Sequence[str] = ()) -> None:
        self.own = list(own)
        self._aliases = tuple(aliases)
        self._found: dict[str, Served] = {}

    def aliases_of(self, served: Served) -> tuple[str, ...]:
        """Its other names."""
        return self._aliases if served.id == self.default.id else ()

    @property
    def default(self) -> Served:
        """What a request gets that names no model."""
        return self.own[0]

    def learn_path(self, served: Served, path: Path, name: str) -> None:
        """A model of the server's own was opened: its file, and what that is called."""
        for place, one in enumerate(self.own):
            if one.id == served.id:
                self.own[place] = replace(one, path=path)
                self._found[name] = self.own[place]

    async def find(self, name: str | None) -> Served:
        """The model of that name.

        Raises:
            ApiError: 404 with the near names.
        """
        if not name or name in self._aliases:
            return self.default
        for one in self.own:
            if name in (one.id, one.spec):
                return one
        if name not in self._found:
            found = await asyncio.to_thread(_find_here, name)
            if found is None:
                raise await self._unknown(name)
            self._found[name] = self._same_file(found) or found
        # A model of the server's own may have learnt its file meanwhile.
        return self._same_file(self._found[name]) or self._found[name]

    def _same_file(self, found: Served) -> Served | None:
        """What has that file already: one process is enough for both names."""
        others = (*self.own, *self._found.values())
        return next((one for one in others if one.path is not None and one.path == found.path), None)

    async def _unknown(self, name: str) -> ApiError:
        names = [one.id for one in await self.all_here()]
        near = nearest(name, [*names, *self._aliases])
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names[:8])}"
        return ApiError(404, f"there is no model {name[:120]!r} here; {hint}", "model", "model_not_found")

    async def all_here(self) -> list[Served]:
        """The server's own first, then pairs and models on this machine, each once."""
        others = await asyncio.to_thread(lambda: list(_list_here(load_catalog())))
        seen = {one.id for one in self.own}
        return [*self.own, *(one for one in others if one.id not in seen and not seen.add(one.id))]  # type: ignore[func-returns-value]


def _find_here(name: str) -> Served | None:
    """A pair, a model of the catalogue, one of the hub's cache, or one that another program keeps; never a path."""
    try:
        catalog = load_catalog()
        here = list(_list_here(catalog))
        if (found := next((one for one in here if one.id == name), None)) is not None:
            return found
        # One of the hub has several names.
        entry = entry_of(name, catalog) if parse_hub_spec(name) else None
        model = find_on_disk(entry) if entry is not None else None
    except (EdgespecError, OSError, ValueError):
        return None
    if model is None:
        return None
    path = model.path.resolve()
    return next((one for one in here if one.path == path), _served(model))


def _list_here(catalog: Catalog) -> Iterator[Served]:
    models = {model.name: model for model in local_models(catalog)}
    for pair in catalog.pairs.values():
        if pair.target in models:
            # Without its draft a pair is its target: what is missing would have to be fetched.
            is_whole = pair.drafts[0] in models or pair.drafts[0] == "ngram"
            target = models[pair.target]
            yield Served(pair.name, pair.name if is_whole else target.spec, path=target.path.resolve())
    for model in models.values():
        yield _served(model)


def _served(model: LocalModel) -> Served:
    return Served(model.name, model.spec, path=model.path.resolve())
