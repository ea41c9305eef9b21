"""Tokens on their way to a front door: in batches, and with a place between rounds where a stop gets through."""

from collections.abc import Iterator
from time import monotonic

from edgespec.chat.tools import CallDelta
from edgespec.decode.token import GenerationStats, Token
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.session.loading import resident_bytes
from edgespec.worker.protocol import BATCH_S, Link, Piece, TokensArrived


class TokenStream:
    """Collects tokens and sends them in batches; the first one leaves at once.

    Args:
        link: To the front door.
        stats: Of the answer that is under way.
        arm: In a race: whose tokens they are.
    """

    def __init__(self, link: Link, stats: GenerationStats, arm: str = "") -> None:
        self._link, self._stats, self._arm = link, stats, arm
        self._pieces: list[Piece] = []
        self._thought = ""
        self._calls: list[CallDelta] = []
        self._sent_s = 0.0
        self._memory_bytes = resident_bytes()

    def add(self, token: Token) -> None:
        """One more token."""
        self._thought += token.thought
        self._calls += token.calls
        last = self._pieces[-1] if self._pieces else None
        if last is not None and last.source == token.source:
            self._pieces[-1] = Piece(last.text + token.text, last.source)
        elif token.text:
            self._pieces.append(Piece(token.text, token.source))
        if monotonic() - self._sent_s >= BATCH_S:
            self.flush()

    def flush(self) -> None:
        """Sends what is left."""
        stats = self._stats
        self._sent_s = monotonic()
        # A stop comes out of `send` when the batch is on its way: nothing may be sent twice.
        pieces, self._pieces = self._pieces, []
        thought, self._thought = self._thought, ""
        calls, self._calls = self._calls, []
        if not (pieces or thought or calls):
            return
        self._link.send(
            TokensArrived(
                tuple(pieces),
                stats.predicted_n,
                stats.decode_s,
                stats.draft_n,
                stats.draft_n_accepted,
                stats.target_passes,
                rate_of(stats.plain_step_s),
                self._memory_bytes,
                self._arm,
                thought,
                stats.thought_n,
                stats.thought_s,
                tuple(calls),
                stats.prompt_n,
                stats.estimated_speedup or 0.0,
            )
        )


def stoppable(tokens: Iterator[Token]) -> Iterator[Token]:
    """Lets a stop through at any time while the prompt is read, and then only between rounds.

    What a round leaves in the caches is thus always known, and the next answer goes on from there.
    """
    token = next(tokens, None)
    while token is not None:
        yield token
        with HeldInterrupts():
            token = next(tokens, None)


def rate_of(step_s: float) -> float:
    """Steps a second, of what one takes; 0 where that is not known."""
    return 1 / step_s if step_s else 0.0
