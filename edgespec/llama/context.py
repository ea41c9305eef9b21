"""A context: the KV cache of a model, one sequence in it, and decodes of a few rows at a time."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import ContextOverflowError, EngineError
from edgespec.llama.context_errors import decode_error, overflow_error
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.eval_callback import EvalCallback
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.model import Model
from edgespec.llama.native_context import Logits, NativeContext
from edgespec.llama.rollback import LONGEST_REPLAY
from edgespec.llama.sequence_state import read_sequence, write_sequence
from edgespec.llama.shortlist import Shortlist

_SEQUENCE = 0
"""The only one of such a context."""


@dataclass(frozen=True, slots=True)
class SavedCache:
    """What a context's cache holds, for other contexts of the same model."""

    tokens: tuple[int, ...]
    data: NDArray[np.uint8]
    """Flat, in llama.cpp's own form (`read_sequence`)."""
    order: tuple[int, ...] = ()
    """Its positions in the order of their cells, of a cache that others shared; else, and where nobody knows, that of the text."""


class Context(NativeContext):
    """One sequence of tokens in a model's KV cache.

    `tokens` is what the cache holds, in order: position i holds `tokens[i]`. Where the memory could only go back further
    than was asked, it holds fewer, and the next decode reads the others again.

    Args:
        model: Loaded with its weights.
        settings: Of one sequence.
        callback: Sees every graph; what its handlers raise, `decode` raises.
        shortlist: Only the logits of its tokens are computed.

    Raises:
        NotEnoughMemoryError: llama.cpp could not allocate the cache or its buffers.
        UsageError: the model cannot have a cache of that type.
        EngineError: another refusal, in llama.cpp's words.
    """

    def __init__(
        self,
        model: Model,
        settings: ContextSettings,
        *,
        callback: EvalCallback | None = None,
        shortlist: Shortlist | None = None,
    ) -> None:
        self.shortlist = shortlist
        self.tokens: list[int] = []
        self._unsettled = False
        super().__init__(model, settings, callback=callback)
        self._sequence = self._sequence_memory(_SEQUENCE)

    @property
    def n_past(self) -> int:
        """Tokens in the cache."""
        return len(self.tokens)

    @property
    def free_tokens(self) -> int:
        """Tokens that still fit."""
        return self.n_ctx - len(self.tokens)

    @property
    def n_unread(self) -> int:
        """Tokens that the next decode reads again before its own: what was right behind a place that could be come back to."""
        return len(self.tokens) - self._sequence.n_held

    def decode(self, tokens: Sequence[int], *, outputs: int = 1, pad_to: int = 0) -> int:
        """Evaluates `tokens` after what the cache holds, as one batch, and before them what has to be read again.

        Args:
            tokens: Ids, at least one and at most `settings.n_batch`.
            outputs: Logits are computed for that many rows at the end of `tokens`, 1 to `settings.n_outputs_max`.
            pad_to: Adds rows without logits up to this batch size and takes them back at once: on some
                backends 4 rows cost less than 3 (notes in docs/how-it-decides.md). Not where nothing can be taken back so.

        Returns:
            The rows of the batch.

        Raises:
            ContextOverflowError: the rows do not fit the context.
            EngineError: llama.cpp failed; the cache is left as it was before.
        """
        count = len(tokens)
        if not 0 < outputs <= min(count, self.settings.n_outputs_max) or count > self.settings.n_batch:
            # llama.cpp would end the whole process.
            raise EngineError(
                f"{count} rows with {outputs} outputs are not a batch", "please report this defect"
            )
        if count > self.free_tokens:
            raise overflow_error(len(self.tokens) + count, self.n_ctx)
        self._settle()
        self._read_again(self.settings.n_batch - count)
        unread, held = self.n_unread, len(self.tokens)
        rows = [*self.tokens[held - unread :], *tokens]
        padded = len(rows)
        if self.abilities.pads and padded < pad_to <= self.free_tokens + unread:
            padded = pad_to
        # Ctrl-C can come between any two lines: then the next call takes back what `tokens` does not list.
        self._unsettled = True
        self._run(rows, outputs, padded)
        self.tokens.extend(tokens)
        self.n_outputs = outputs
        self._sequence.take_back(len(self.tokens))
        self._unsettled = False
        return padded

    def _run(self, rows: Sequence[int], outputs: int, padded: int) -> None:
        """Decodes rows behind what the memory holds; on an error it holds as much as before, or what can be come back to."""
        first = self._sequence.n_held
        self._batch.fill(rows, first, outputs, padded)
        with self.shortlist.applied() if self.shortlist else nullcontext():
            code = self._compute(padded)
        if code or (self._callback is not None and self._callback.failed):
            self._sequence.take_back(first, is_damaged=True)
            self._unsettled = False
            if self._callback is not None:
                self._callback.raise_error()
            raise decode_error(code, padded, self.n_ctx)
        self._sequence.count(padded)

    def _settle(self) -> None:
        """Takes back what a decode left that Ctrl-C ended."""
        if self._unsettled:
            self._sequence.take_back(len(self.tokens), is_damaged=True)
            self._unsettled = False

    def _read_again(self, most: int) -> None:
        """Reads again what is wanted and not held, if more than `most` tokens are."""
        if self.n_unread <= most:
            return
        step = self.settings.n_batch
        while self.n_unread:
            start = self._sequence.n_held
            rows = self.tokens[start : start + step]
            self._unsettled = True
            self._run(rows, 0, len(rows))
            self._unsettled = False

    def mark(self, rows: int | None) -> None:
        """Before a decode of which all rows but the first may be taken back: makes sure that they can be, without reading all again.

        Args:
            rows: Of that decode; None for decodes of a row each, of which all may be taken back.

        Raises:
            EngineError: llama.cpp failed.
        """
        self._settle()
        if self._sequence.wants_mark(rows):
            self._read_again(LONGEST_REPLAY)
            self._sequence.mark()

    def keep(self) -> None:
        """Makes sure that what is held now can be come back to later without reading it again, as after a turn.

        Raises:
            EngineError: llama.cpp failed.
        """
        self._settle()
        self._read_again(0)
        self._sequence.keep()

    def reach(self, n_past: int) -> int:
        """Tokens that the cache would hold after `rollback(n_past)`; those up to `n_past` are then read again with the next decode."""
        return self._sequence.reach(n_past)

    def prefill(self, tokens: Sequence[int]) -> None:
        """Evaluates a prompt in batches; logits of its last token only. Ctrl-C stops it inside a batch.

        Args:
            tokens: Ids, of any number; one place of the context stays free for an answer.

        Raises:
            ContextOverflowError: before anything is evaluated, if the prompt does not fit.
            EngineError: llama.cpp failed.
            KeyboardInterrupt: the user stopped it; what was evaluated stays in the cache.
        """
        if len(tokens) >= self.free_tokens:
            raise ContextOverflowError(
                f"the prompt has {len(self.tokens) + len(tokens)} tokens and the context {self.n_ctx}",
                "use a larger `ctx_size` or a shorter prompt",
            )
        self._settle()
        wanted = [*self.tokens, *tokens]
        del self.tokens[self._sequence.n_held :]
        with HeldInterrupts() as held, self._abortable(held):
            while len(self.tokens) < len(wanted) and not held.pending:
                if self.tokens:
                    self.mark(None)  # a batch that is stopped can be taken back
                start = len(self.tokens)
                self.decode(wanted[start : start + self.settings.n_batch], outputs=1)

    @contextmanager
    def _abortable(self, held: HeldInterrupts) -> Iterator[None]:
        """While it is entered, Ctrl-C aborts the running graph (CPU and Metal; others stop after the batch)."""
        if not held.watching:
            yield
            return

        def should_abort(_user_data: Any) -> bool:
            return held.pending

        callback = self._lib.ggml_abort_callback(should_abort)
        self._lib.llama_set_abort_callback(self.handle, callback, None)
        try:
            yield
        finally:
            self._lib.llama_set_abort_callback(self.handle, self._lib.ggml_abort_callback(0), None)

    def best_guess(self) -> tuple[int, float]:
        """The best token after the last row of the last decode, and its lead in logits over the second best.

        Both are of the shortlist, if there is one.
        """
        return best_of(self.logits(1)[0], self.shortlist)

    def rollback(self, n_past: int) -> None:
        """Forgets all tokens from position `n_past` on; nothing where the cache holds no more than that.

        Some memories forget more: the next decode reads that again (`n_unread`).

        Raises:
            EngineError: llama.cpp failed.
        """
        if n_past >= len(self.tokens):
            return
        if n_past == 0:
            self.clear()
            return
        is_damaged = self._unsettled
        self._unsettled = True
        del self.tokens[n_past:]
        self._sequence.take_back(n_past, is_damaged=is_damaged)
        self._unsettled = False

    def save(self) -> SavedCache:
        """A copy of all that the cache holds.

        Raises:
            EngineError: llama.cpp copied only a part.
        """
        self._settle()
        held = tuple(self.tokens[: self._sequence.n_held])
        return SavedCache(held, read_sequence(self._lib, self.handle, _SEQUENCE))

    def restore(self, saved: SavedCache) -> None:
        """Holds what another context of the same model held, and nothing else.

        Raises:
            ContextOverflowError: it does not fit.
            EngineError: llama.cpp cannot take it, as from another model; the cache is empty then.
        """
        self.clear()
        if len(saved.tokens) > self.n_ctx:
            raise ContextOverflowError(
                f"{len(saved.tokens)} tokens do not fit a context of {self.n_ctx}", "use a larger `ctx_size`"
            )
        self._unsettled = True
        try:
            write_sequence(self._lib, self.handle, _SEQUENCE, saved.data)
        except EngineError:
            self.clear()
            raise
        self.tokens.extend(saved.tokens)
        self._sequence.hold(len(saved.tokens))
        self._unsettled = False

    def clear(self) -> None:
        """Forgets everything."""
        self._unsettled = True
        self.tokens.clear()
        self._lib.llama_memory_clear(self._memory, False)
        self._sequence.forget()
        self._unsettled = False


def best_of(row: Logits, shortlist: Shortlist | None) -> tuple[int, float]:
    """The best token of a row of logits, `[n_vocab]`, and its lead over the second best; both of the shortlist, if there is one."""
    if shortlist is None:
        best = int(row.argmax())
        return best, top_two_gap(row, best)
    ids = shortlist.ids
    listed = row[ids]
    place = int(listed.argmax())
    return int(ids[place]), top_two_gap(listed, place)


def top_two_gap(row: Logits, best: int) -> float:
    """How far one logit lies above the best of the others.

    Two passes over the row, where a sort or a softmax over 152k logits would take many times that:
    the row 1.0, 4.0, 2.5 has at 1 a gap of 1.5. Below 0 for a token that is not the best, as a sampler may draw one;
    infinite for a vocabulary of one.

    Args:
        row: Logits `[n_vocab]`; written to, and as before afterwards.
        best: The token's id.
    """
    value = float(row[best])
    row[best] = -np.inf
    second = float(row.max())
    row[best] = value
    return value - second if math.isfinite(second) else math.inf
