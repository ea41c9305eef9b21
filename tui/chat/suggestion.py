"""On a first start: which better model fits this machine, and how long it takes to fetch."""

from dataclasses import dataclass
from typing import Final

from edgespec.catalog.entries import Catalog, ModelEntry
from edgespec.catalog.memory import available_memory_bytes, guess_memory_bytes
from edgespec.catalog.resolve import find_on_disk
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import EdgespecError
from edgespec.text import human_bytes
from edgespec.worker.protocol import PairOpened
from tui.chat.store import ChatStore

_SHARE: Final = 0.5
"""Of the memory that is free, what a model may take beside the programs that somebody has open."""
_READABLE: Final = 8.0
"""Tokens a second, below which an answer comes slower than it is read."""
_FETCH_MBIT_PER_S: Final = 50
"""Of a usual line; nobody knows this one's before something is fetched."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A model that is not here."""

    entry: ModelEntry
    size_bytes: int
    tok_per_s: float
    """What it may reach here at most: bytes that are read a second, from the model that is loaded, by its own."""

    @property
    def text(self) -> str:
        """The line."""
        minutes = max(1, round(8 * self.size_bytes / (_FETCH_MBIT_PER_S * 1e6) / 60))
        return (
            f"This model is a very small one. {self.entry.name} answers far better and fits this machine: "
            f"{human_bytes(self.size_bytes)}, about {minutes} min to fetch at {_FETCH_MBIT_PER_S} Mbit/s, "
            f"then up to {self.tok_per_s:.0f} tok/s. F5 fetches it."
        )


def find_suggestion(pair: PairOpened, store: ChatStore) -> Suggestion | None:
    """Looks into the catalogue and at this machine where nothing was ever said here; reads the disk, so call it from a thread.

    Args:
        pair: What is loaded: only beside the catalogue's default something better is named.
        store: Of all conversations.
    """
    try:
        is_first = store.newest() is None
        return choose_suggestion(load_catalog(), pair, available_memory_bytes()) if is_first else None
    except (EdgespecError, OSError):
        return None  # what is wrong with the catalogue or the database is said elsewhere


def choose_suggestion(catalog: Catalog, pair: PairOpened, free_bytes: int) -> Suggestion | None:
    """The best of those that the catalogue suggests that fits and is fast enough; None where one of them is here.

    Args:
        catalog: Suggests, the best first.
        pair: What is loaded.
        free_bytes: Memory that can be taken.
    """
    default = catalog.models.get(catalog.default)
    if pair.server or pair.target != catalog.default or default is None or not default.size_bytes:
        return None
    entries = [catalog.models[name] for name in catalog.suggested]
    if any(find_on_disk(entry) for entry in entries):
        return None
    for entry in entries:
        size = entry.size_bytes or 0
        tok_per_s = pair.plain_tok_per_s * default.size_bytes / size if size else 0.0
        if tok_per_s >= _READABLE and guess_memory_bytes(size) <= _SHARE * free_bytes:
            return Suggestion(entry, size, tok_per_s)
    return None
