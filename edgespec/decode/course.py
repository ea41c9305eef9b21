"""An answer token by token: its text, its length, and where it ends."""

import codecs
from typing import Protocol

from edgespec.decode.token import GenerationStats


class Vocabulary(Protocol):
    """What is asked of a target's tokens."""

    def is_end(self, token: int) -> bool:
        """Whether the token ends the answer."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for."""
        ...


class Course:
    """How far an answer has come.

    Args:
        vocabulary: Of its target.
        stats: Where its tokens are counted, and why it ended.
        max_tokens: Length limit.
        free_tokens: Another one: what fits the context.
        ignore_end: Goes on after an end token.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        stats: GenerationStats,
        max_tokens: int,
        free_tokens: int,
        *,
        ignore_end: bool = False,
    ) -> None:
        self._vocabulary, self.stats, self._ignore_end = vocabulary, stats, ignore_end
        self._max_tokens = max_tokens
        self._limit = min(max_tokens, free_tokens)
        self._pieces = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def remaining(self) -> int:
        """Tokens that may still come."""
        return self._limit - self.stats.predicted_n

    def narrow(self, free_tokens: int) -> None:
        """So many tokens still fit the context, after something else than the target's own tokens has joined the answer."""
        self._limit = min(self._limit, self.stats.predicted_n + free_tokens)

    def take(self, token: int) -> str:
        """One more token: the characters that it completes. `stats.stopped` is set where it is the last one."""
        stats = self.stats
        stats.predicted_n += 1
        ends = self._vocabulary.is_end(token) and not self._ignore_end
        last = ends or stats.predicted_n >= self._limit
        if last:
            whole = stats.predicted_n >= self._max_tokens
            stats.stopped = "eog" if ends else "length" if whole else "context"
        return self._pieces.decode(b"" if ends else self._vocabulary.token_bytes(token), last)
