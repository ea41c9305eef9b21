"""Conversations that have left the cache, copied into the main memory: they come back when their text does."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgespec.decode.engines import shared_prefix
from edgespec.llama.context import SavedCache


@dataclass(frozen=True, slots=True, eq=False)
class KeptText:
    """A conversation."""

    tokens: list[int]
    n_bytes: int
    """In memory; 0 where it lies elsewhere and is read when it is wanted."""
    load: Callable[[], SavedCache | None]
    """None where it cannot be had any more."""


class KeptTexts:
    """Conversations up to a limit of bytes; those that were used least recently go first.

    Args:
        limit_bytes: Of all copies together; 0 keeps none.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._texts: dict[KeptText, None] = {}
        """The least recently used first."""
        self.n_bytes = 0

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[KeptText]:
        """The least recently used first."""
        return iter(list(self._texts))

    def holds(self, tokens: Sequence[int]) -> bool:
        """Whether one of them begins with a text, or is it."""
        return any(shared_prefix(text.tokens, tokens) == len(tokens) for text in self._texts)

    def put(self, saved: SavedCache) -> None:
        """Keeps a copy; shorter ones that it begins with go, and what is too large for the limit is not kept."""
        tokens, n_bytes = list(saved.tokens), int(saved.data.nbytes)
        if n_bytes > self.limit_bytes:
            return
        for text in list(self._texts):
            if shared_prefix(text.tokens, tokens) == len(text.tokens):
                self.drop(text)
        self.add(KeptText(tokens, n_bytes, lambda: saved))

    def add(self, text: KeptText) -> None:
        """Keeps one as the most recently used."""
        self._texts[text] = None
        self.n_bytes += text.n_bytes
        while self.n_bytes > self.limit_bytes:
            self.drop(next(iter(self._texts)))

    def drop(self, text: KeptText) -> None:
        """Keeps it no more."""
        del self._texts[text]
        self.n_bytes -= text.n_bytes

    def find(self, text: Sequence[int], *, whole: bool) -> tuple[KeptText, int] | None:
        """Where the longest beginning of a text is kept, and its tokens, of which the last one of the text is none.

        Args:
            text: Of a token at least.
            whole: Only what is kept as a whole will do.
        """
        best, most = None, 0
        for kept in self._texts:
            count = min(shared_prefix(kept.tokens, text), len(text) - 1)
            if count > most and not (whole and count < len(kept.tokens)):
                best, most = kept, count
        return (best, most) if best else None

    def use(self, text: KeptText) -> SavedCache | None:
        """The copy, which is now the most recently used; None where it cannot be had any more."""
        saved = text.load()
        del self._texts[text]
        if saved is None:
            self.n_bytes -= text.n_bytes
        else:
            self._texts[text] = None
        return saved
