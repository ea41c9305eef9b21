"""Which models a request may name: those of the command line, and what is on this machine already. Nothing is fetched for a request."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Final

from edgespec.catalog.entries import Catalog
from edgespec.catalog.hub_spec import parse_hub_spec
from edgespec.catalog.resolve import LocalModel, entry_of, find_on_disk, local_models
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import EdgespecError
from edgespec.serve.errors import ApiError
from edgespec.text import nearest

_FRESH_S: Final = 2.0
"""What is on this machine is looked at no more often, however many names are asked for: a look reads the catalogue and walks folders."""
_MOST_NAMES: Final = 256
"""Remembered: a file of the hub has any number of names, by its addresses for one."""
_LONGEST_NAME: Final = 512
"""Nothing has a longer one, and none is looked for."""


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
        self._taught: dict[str, Served] = {}
        """Of the server's own, by what their files are called."""
        self._found: dict[str, Served] = {}
        """By name, the one that was found first before the others."""
        self._by_file: dict[Path, Served] = {}
        """What each file was called first."""
        self._looking: asyncio.Task[_Here] | None = None
        self._looked_s = 0.0

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
                self._taught[name] = self.own[place]

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
        if name in self._taught:
            return self._taught[name]
        found = self._found.get(name) or await self._find_here(name)
        # A model of the server's own may have learnt its file meanwhile.
        return self._same_file(found)

    async def _find_here(self, name: str) -> Served:
        here = await self._look()
        found = next((one for one in here.models if one.id == name), None)
        if found is None and len(name) <= _LONGEST_NAME:
            found = await asyncio.to_thread(_find_other_name, name, here)
        if found is None:
            raise self._unknown(name, here)
        while len(self._found) >= _MOST_NAMES:
            del self._found[next(iter(self._found))]
        self._found[name] = found
        return found

    def _same_file(self, found: Served) -> Served:
        """What has that file already: one process is enough for both names."""
        if found.path is None:
            return found
        own = next((one for one in self.own if one.path == found.path), None)
        return own or self._by_file.setdefault(found.path, found)

    def _unknown(self, name: str, here: "_Here") -> ApiError:
        names = [one.id for one in self._with_own(here)]
        near = nearest(name, [*names, *self._aliases]) if len(name) <= _LONGEST_NAME else []
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names[:8])}"
        return ApiError(404, f"there is no model {name[:120]!r} here; {hint}", "model", "model_not_found")

    async def all_here(self) -> list[Served]:
        """The server's own first, then pairs and models on this machine, each once."""
        return self._with_own(await self._look())

    def _with_own(self, here: "_Here") -> list[Served]:
        found: dict[str, Served] = {}
        for one in (*self.own, *here.models):
            found.setdefault(one.id, one)
        return list(found.values())

    async def _look(self) -> "_Here":
        """What is on this machine, as of two seconds ago at most; all who ask meanwhile wait for one look."""
        looking = self._looking
        if looking is None or (looking.done() and monotonic() - self._looked_s >= _FRESH_S):
            looking = self._looking = asyncio.create_task(self._look_now())
        # Whoever hangs up does not stop it.
        return await asyncio.shield(looking)

    async def _look_now(self) -> "_Here":
        try:
            return await asyncio.to_thread(_look_here)
        finally:
            self._looked_s = monotonic()


@dataclass(frozen=True, slots=True)
class _Here:
    """What is on this machine."""

    catalog: Catalog
    models: tuple[Served, ...]
    """Pairs first; an id may stand here twice."""


def _look_here() -> _Here:
    catalog = load_catalog()
    return _Here(catalog, tuple(_list_here(catalog)))


def _find_other_name(name: str, here: _Here) -> Served | None:
    """A model of the hub, which has several names; never a path."""
    try:
        entry = entry_of(name, here.catalog) if parse_hub_spec(name) else None
        model = find_on_disk(entry) if entry is not None else None
    except (EdgespecError, OSError, ValueError):
        return None
    if model is None:
        return None
    path = model.path.resolve()
    return next((one for one in here.models if one.path == path), _served(model))


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
