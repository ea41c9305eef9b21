"""Which of a server's models answers, and what the server tells of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final

from edgespec.errors import ModelMissingError
from edgespec.text import nearest, one_line
from edgespec.worker.remote.address import ServerAddress
from edgespec.worker.remote.connection import ServerConnection

_OWN: Final = "edgespec"


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model of a server."""

    name: str
    """As the server calls it."""
    n_ctx: int = 0
    """Tokens of its context; 0 where the server does not say."""
    draft: str | None = None
    """What drafts for it, where the server says so."""
    takes_llama_settings: bool = False
    """The server takes what llama.cpp's own takes beside OpenAI's settings."""


async def find_remote_model(connection: ServerConnection, target: str | None) -> RemoteModel:
    """The model that was asked for, or the only one that there is, or the only one that is loaded.

    Args:
        connection: To the server.
        target: As the server calls it, or nearly so: in any case, without its folder, its suffix or `:latest`.

    Raises:
        ServerError: the server cannot be reached, or is none.
        ModelMissingError: it has no such model, or several, and none was named.
        UsageError: it wants an API key.
    """
    listed = await connection.get("/v1/models")
    entries = _entries(listed)
    if entries is None:
        if listed is not None or target is None:
            raise connection.stranger()
        entries = []  # some have no list
    entry = _choose(connection.address, entries, target)
    name = str(entry["id"])
    props = await connection.look("/props", **({"model": name} if len(entries) > 1 else {}))
    return _described(name, entry, props)


def _entries(listed: object) -> list[Mapping[str, Any]] | None:
    """What a list of models holds; None where it is none."""
    found = listed.get("data") if isinstance(listed, Mapping) else None
    if found is None and isinstance(listed, Mapping) and "data" in listed:
        return []  # ollama's, without a model
    if not isinstance(found, list):
        return None
    return [one for one in found if isinstance(one, Mapping) and isinstance(one.get("id"), str) and one["id"]]


def _choose(
    address: ServerAddress, entries: Sequence[Mapping[str, Any]], target: str | None
) -> Mapping[str, Any]:
    names = [str(entry["id"]) for entry in entries]
    if target is None:
        loaded = [entry for entry in entries if _is_loaded(entry)]
        # Of edgespec's own the first is what a request gets that names none.
        if len(entries) == 1 or (entries and entries[0].get("owned_by") == _OWN):
            return entries[0]
        if len(loaded) == 1:
            return loaded[0]
        if not entries:
            raise ModelMissingError(
                f"the server at {address} lists no model", "load one there, or name the one that shall answer"
            )
        raise ModelMissingError(
            f"the server at {address} has {len(entries)} models", f"name one of them: {_listed(names)}"
        )
    if not entries:
        return {"id": target}
    for same in (_as_is, str.lower, _short):
        found = [entry for entry in entries if same(target) in map(same, _names_of(entry))]
        if found:
            return found[0]
    raise ModelMissingError(
        f"the server at {address} has no model {target!r}",
        f"it has {_listed(nearest(target, names) or names)}",
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name) for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _names_of(entry: Mapping[str, Any]) -> list[str]:
    aliases = entry.get("aliases")
    return (
        [entry["id"], *(one for one in aliases if isinstance(one, str))]
        if isinstance(aliases, list)
        else [entry["id"]]
    )


def _as_is(name: str) -> str:
    return name


def _short(name: str) -> str:
    """Without what servers put around a name."""
    file = PurePosixPath(PureWindowsPath(name).as_posix()).name
    return file.lower().removesuffix(":latest").removesuffix(".gguf")


def _is_loaded(entry: Mapping[str, Any]) -> bool:
    """As llama-server's router says it."""
    status = entry.get("status")
    return isinstance(status, Mapping) and status.get("value") == "loaded"


def _described(name: str, entry: Mapping[str, Any], props: object) -> RemoteModel:
    told, meta = _mapping(props), _mapping(entry.get("meta"))
    defaults = _mapping(told.get("default_generation_settings"))
    # The last is vLLM's.
    sizes = map(count_of, (defaults.get("n_ctx"), meta.get("n_ctx"), entry.get("max_model_len")))
    draft = told.get("draft") or meta.get("draft")
    return RemoteModel(
        name,
        next(filter(None, sizes), 0),
        draft if isinstance(draft, str) else None,
        bool(defaults) or entry.get("owned_by") in (_OWN, "llamacpp"),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def count_of(value: object) -> int:
    """A count that a server tells; 0 for what is none."""
    is_count = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**53
    return int(value) if is_count and isinstance(value, int | float) else 0
