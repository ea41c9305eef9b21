"""A draft model in llama.cpp that keeps its KV cache from round to round and reads only what it lacks."""

from collections.abc import Sequence

from edgespec.decode.engines import shared_prefix
from edgespec.decode.tokenmap import Translator
from edgespec.llama.context import Context, top_two_gap

CATCH_UP_WINDOW = 384
"""A draft that was off reads at most this much of the history's end: bounds the price of coming back."""


class LlamaDraft:
    """A draft model. Histories and guesses are in the target's token ids.

    The cache holds the end of the history from token `_offset` on, in the draft's own ids. A gap longer than the
    window is skipped, which costs some acceptance and never correctness.
    """

    def __init__(self, context: Context, translator: Translator, window: int = CATCH_UP_WINDOW) -> None:
        self.context = context
        self._translator = translator
        self._window = min(window, context.n_ctx // 2)
        self.begin()

    def begin(self) -> None:
        """A new answer: its history may differ from the last one's; what they share stays in the cache."""
        self._wanted: list[int] = []
        self._translated_n = 0
        self._offset = 0
        self._valid = 0
        self._guess = -1

    def missing(self, history: Sequence[int]) -> int:
        """Tokens it would have to read before it can guess, within its window."""
        self._translate(history)
        behind = len(self._wanted) - self._offset - self._synced()
        return min(max(behind, 1), self._window)

    def catch_up(self, history: Sequence[int]) -> int:
        """Reads what it lacks; a gap larger than the window is skipped. Returns the rows evaluated."""
        self._translate(history)
        valid = self._synced()
        length = len(self._wanted)
        if length - self._offset - valid > self._window or length - self._offset > self.context.n_ctx - 64:
            self._offset, valid = max(0, length - self._window), 0
        # The logits wanted are those after the last token: it is read again if it was there already.
        valid = min(valid, length - self._offset - 1)
        self.context.rollback(valid)
        lacking = self._wanted[self._offset + valid :]
        step = self.context.settings.n_batch
        for start in range(0, len(lacking), step):
            self.context.decode(lacking[start : start + step], outputs=1)
        self._valid = length - self._offset
        return len(lacking)

    def guess(self) -> tuple[int, float] | None:
        """Its next token in the target's ids, and that token's lead in logits over the second."""
        row = self.context.logits(1)[0]
        self._guess = int(row.argmax())
        token = self._translator.to_target(self._guess)
        return None if token is None else (token, top_two_gap(row, self._guess))

    def advance(self) -> None:
        """Reads its own last guess: one draft step."""
        self.context.decode([self._guess], outputs=1)

    def _translate(self, history: Sequence[int]) -> None:
        self._wanted.extend(self._translator.to_draft(history[self._translated_n :]))
        self._translated_n = len(history)

    def _synced(self) -> int:
        """Leading cache positions that hold the wanted tokens."""
        here = self._wanted[self._offset :] if self._offset else self._wanted
        self._valid = shared_prefix(self.context.tokens, here, min(self._valid, self.context.n_past))
        return self._valid
