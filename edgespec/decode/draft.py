"""A draft model in llama.cpp that keeps its KV cache from round to round and reads only what it lacks."""

from collections.abc import Sequence

from edgespec.decode.costs import MAX_WINDOW
from edgespec.decode.engines import shared_prefix
from edgespec.decode.tokenmap import Translator
from edgespec.llama.context import Context

HEADROOM = 64
"""Places of the draft's context that stay free for what it drafts, 15 tokens at most; a history beyond them is read anew
from its end."""


class LlamaDraft:
    """A draft model. Histories and guesses are in the target's token ids.

    The cache holds the end of the history from token `_offset` on, in the draft's own ids. With a window of 16, a history
    of 100 tokens and an empty cache, tokens 84 to 99 are read and `_offset` is 84. After a round that brought tokens 100
    to 102, of which it had guessed 100 and 101, the cache holds 84 to 100, as it reads a guess only to make the next one:
    101 and 102 are read.

    Args:
        context: Keeps one row of logits; another sampler or draft must not use it meanwhile.
        translator: Between the ids of both.
        window: Tokens; of a longer gap only the end is read, which costs some acceptance and never correctness. Half the
            context at most.
        step_batch: A single row is evaluated as a batch of so many, where that is faster.
    """

    def __init__(
        self, context: Context, translator: Translator, window: int = MAX_WINDOW, step_batch: int = 1
    ) -> None:
        self.context = context
        self._step_batch = step_batch
        self._translator = translator
        self._window = min(window, context.n_ctx // 2)
        self.begin()

    def begin(self) -> None:
        """A new answer: its history may differ from the last one's; what they share stays in the cache."""
        if self.context.shortlist:
            self.context.shortlist.reset()
        self._wanted: list[int] = []
        self._translated_n = 0
        self._offset = 0
        self._valid = 0
        self._guess = -1

    def missing(self, history: Sequence[int]) -> int:
        """Tokens it would have to read before it can guess, 1 to its window; 0 of an empty history."""
        self._translate(history)
        offset, valid = self._reading()
        return len(self._wanted) - offset - valid

    def catch_up(self, history: Sequence[int]) -> int:
        """Reads what it lacks; of a gap larger than the window the end alone. Returns the rows evaluated.

        Raises:
            EngineError: llama.cpp failed.
        """
        self._translate(history)
        self._offset, valid = self._reading()
        self.context.rollback(valid)
        lacking = self._wanted[self._offset + valid :]
        step = self.context.settings.n_batch
        for start in range(0, len(lacking), step):
            self.context.decode(lacking[start : start + step], outputs=1, pad_to=self._step_batch)
        self._valid = len(self._wanted) - self._offset
        return len(lacking)

    def guess(self) -> tuple[int, float] | None:
        """Its next token in the target's ids, and that token's lead in logits over the second best.

        Returns:
            None where the target has no token of that text, or nothing of the history has one here.
        """
        if not self._valid:
            return None  # nothing in the history has a word here
        self._guess, lead = self.context.best_guess()
        token = self._translator.to_target(self._guess)
        return None if token is None else (token, lead)

    def advance(self) -> None:
        """Reads its own last guess: one draft step."""
        self.context.decode([self._guess], outputs=1, pad_to=self._step_batch)

    def _translate(self, history: Sequence[int]) -> None:
        new = self._translator.to_draft(history[self._translated_n :])
        self._wanted.extend(new)
        self._translated_n = len(history)
        if self.context.shortlist:
            self.context.shortlist.add(new)

    def _reading(self) -> tuple[int, int]:
        """The first token of the history that the cache is to hold, and how many from there on it holds already."""
        length = len(self._wanted)
        offset, valid = self._offset, self._synced()
        if length - offset - valid > self._window or length - offset > self.context.n_ctx - HEADROOM:
            offset, valid = max(0, length - self._window), 0
        # The logits wanted are those after the last token: it is read again if it was there already.
        return offset, max(min(valid, length - offset - 1), 0)

    def _synced(self) -> int:
        """Leading cache positions that hold the wanted tokens."""
        here = self._wanted[self._offset :] if self._offset else self._wanted
        self._valid = shared_prefix(self.context.tokens, here, min(self._valid, self.context.n_past))
        return self._valid
