"""A draft model in llama.cpp that keeps its KV cache from round to round and reads only what it lacks."""

from collections.abc import Sequence

from edgespec.decode.drafters.contract import Steps
from edgespec.decode.tokenmap import Translator
from edgespec.llama.context import Context
from edgespec.llama.slots import Part, Slot

HEADROOM = 64
"""Places of the draft's context that stay free for what is drafted, 15 tokens at most; a history beyond them is read anew
from its end."""


_TELLING = 8
"""Tokens by which a cache that began inside a text is found again in it."""


class LlamaDraft:
    """A draft model. Histories, chains and guesses are in the target's token ids.

    The cache holds the end of the history from token `_offset` on, in the draft's own ids. With a window of 16, a history
    of 100 tokens and an empty cache, tokens 84 to 99 are read and `_offset` is 84. After a round that brought tokens 100
    to 102, of which it had guessed 100 and 101, the cache holds 84 to 100, as it reads a guess only to make the next one:
    101 and 102 are read.

    Args:
        context: Keeps one row of logits; another sampler or draft must not use it meanwhile.
        translator: Between the ids of both.
        step_batch: A single row is evaluated as a batch of so many, where that is faster.
    """

    def __init__(self, context: Context | Slot, translator: Translator, step_batch: int = 1) -> None:
        self.context = context
        self._step_batch = step_batch
        self._translator = translator
        self._wanted: list[int] = []
        """The history in the draft's ids."""
        self._translated_n = 0
        self._offset = self._held = self._text_n = self._listed_n = self._behind_n = 0
        self._said: dict[int, int] = {}
        """Guesses of this round, from the target's ids to the draft's."""

    @property
    def n_read(self) -> int:
        """Tokens of the history that the cache holds, as of the last `missing` or `read`."""
        return self._held

    @property
    def most_read(self) -> int:
        """Half the context: the other half is for what comes."""
        return self.context.n_ctx // 2

    def begin(self, history: Sequence[int]) -> None:
        """A new answer: what its history shares with the last one's stays in the cache."""
        if self.context.shortlist:
            self.context.shortlist.reset()
        self._wanted, self._translated_n = [], 0
        self._translate(history)
        self._offset = _find(self._wanted, self.context.tokens[:_TELLING])
        self._held = self._listed_n = 0

    def missing(self, history: Sequence[int]) -> int | None:
        """Tokens it would have to read on from what the cache holds, 1 and more; None where it holds nothing of use."""
        self._translate(history)
        length = len(self._wanted) - self._offset
        self._held = self._count_held([])
        if not self._held or length > self.context.n_ctx - HEADROOM:
            return None
        return max(length - self.context.reach(self._held), 1)

    def read(self, history: Sequence[int], chain: Sequence[int], window: int | None = None) -> int:
        """Reads what the cache lacks of the history and a chain behind it. Returns the rows evaluated.

        None are where nothing has a word here, and where a chain in another tokenizer's pieces does not fit the context;
        then there is no guess.

        Args:
            history: All of the text.
            chain: Guesses behind it.
            window: Forgets what it holds and begins with so many tokens of the history's end.

        Raises:
            EngineError: llama.cpp failed.
        """
        prepared = self._prepare(history, chain, window)
        if prepared is None:
            return 0
        text, valid = prepared
        rows = len(text) - valid + self.context.n_unread
        step = self.context.settings.n_batch
        for start in range(valid, len(text), step):
            self.context.decode(text[start : start + step], outputs=1, pad_to=self._step_batch)
        self._finish(text)
        return rows

    def steps(self, history: Sequence[int], chain: Sequence[int], window: int | None = None) -> Steps[None]:
        """As `read`, with the last decode left to whoever runs this: other answers may share it.

        Args:
            history: All of the text.
            chain: Guesses behind it.
            window: Forgets what it holds and begins with so many tokens of the history's end.

        Raises:
            EngineError: llama.cpp failed.
        """
        slot = self.context
        assert isinstance(slot, Slot)
        prepared = self._prepare(history, chain, window)
        if prepared is None:
            return
        text, valid = prepared
        step = slot.settings.n_batch // slot.settings.n_sequences
        while len(text) - valid > step:
            slot.decode(text[valid : valid + step])
            valid += step
        slot.read_again(step)
        yield Part(slot, text[valid:], 1)
        self._finish(text)

    def _prepare(
        self, history: Sequence[int], chain: Sequence[int], window: int | None
    ) -> tuple[list[int], int] | None:
        """The text to be held and how much of it is; None where there is nothing to read."""
        self._translate(history)
        self._list_new()
        if not chain:
            self._said.clear()
        if window is not None:
            self._offset, self._held = max(len(self._wanted) - window, 0), 0
        behind = self._translate_chain(chain)
        text = [*self._wanted[self._offset :], *behind]
        if len(text) > self.context.n_ctx:
            self._text_n = 0
            return None
        # The logits wanted are those after the last token: it is read again if it was there already.
        valid = max(min(self._count_held(behind), len(text) - 1), 0)
        self.context.rollback(valid)
        self._behind_n = len(behind)
        return text, valid

    def _finish(self, text: Sequence[int]) -> None:
        if not self._behind_n:
            self.context.mark(None)  # guesses are taken back to here
        self._held, self._text_n = len(text) - self._behind_n, len(text)

    def guess(self) -> tuple[int, float] | None:
        """Its next token in the target's ids, and that token's lead in logits over the second best.

        Returns:
            None where the target has no token of that text, or nothing was read.
        """
        if not self._text_n:
            return None
        own, lead = self.context.best_guess()
        token = self._translator.to_target(own)
        if token is None:
            return None
        self._said[token] = own
        return token, lead

    def _translate(self, history: Sequence[int]) -> None:
        if len(history) > self._translated_n:
            self._wanted.extend(self._translator.to_draft(history[self._translated_n :]))
            self._translated_n = len(history)

    def _list_new(self) -> None:
        """What stands in the text may be guessed."""
        if self.context.shortlist and self._listed_n < len(self._wanted):
            self.context.shortlist.add(self._wanted[self._listed_n :])
            self._listed_n = len(self._wanted)

    def _translate_chain(self, chain: Sequence[int]) -> list[int]:
        ids: list[int] = []
        for token in chain:
            own = self._said.get(token)
            ids += self._translator.to_draft([token]) if own is None else [own]
        return ids

    def _count_held(self, behind: Sequence[int]) -> int:
        """Leading cache positions that hold the wanted tokens."""
        cached, wanted, offset = self.context.tokens, self._wanted, self._offset
        at, text_n = min(self._held, len(cached)), len(wanted) - offset
        most = min(len(cached), text_n + len(behind))
        while at < most and cached[at] == (wanted[offset + at] if at < text_n else behind[at - text_n]):
            at += 1
        return at


def _find(text: Sequence[int], piece: Sequence[int]) -> int:
    """Where a piece stands in a text for the first time; 0 where it does not."""
    length = len(piece)
    starts = range(len(text) - length + 1) if length else ()
    return next((start for start in starts if text[start : start + length] == piece), 0)
