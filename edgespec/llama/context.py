"""A context: the KV cache of a model, one sequence in it, and decodes of a few rows at a time."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import ContextOverflowError, EngineError
from edgespec.llama.context_errors import decode_error
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.eval_callback import EvalCallback
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.model import Model
from edgespec.llama.native_context import Logits, NativeContext
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


class Context(NativeContext):
    """One sequence of tokens in a model's KV cache.

    `tokens` is what the cache holds, in order: position i holds `tokens[i]`.

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

    @property
    def n_past(self) -> int:
        """Tokens in the cache."""
        return len(self.tokens)

    @property
    def free_tokens(self) -> int:
        """Tokens that still fit."""
        return self.n_ctx - len(self.tokens)

    def decode(self, tokens: Sequence[int], *, outputs: int = 1, pad_to: int = 0) -> None:
        """Evaluates `tokens` after what the cache holds, as one batch.

        Args:
            tokens: Ids, at least one and at most `settings.n_batch`.
            outputs: Logits are computed for that many rows at the end of `tokens`, 1 to `settings.n_outputs_max`.
            pad_to: Adds rows without logits up to this batch size and takes them back at once: on some
                backends 4 rows cost less than 3 (notes in docs/how-it-decides.md).

        Raises:
            ContextOverflowError: the rows do not fit the context.
            EngineError: llama.cpp failed; the cache is left as it was before.
        """
        llama_decode, batch = self._lib.llama_decode, self._batch
        count = len(tokens)
        if not 0 < outputs <= min(count, self.settings.n_outputs_max) or count > self.settings.n_batch:
            # llama.cpp would end the whole process.
            raise EngineError(
                f"{count} rows with {outputs} outputs are not a batch", "please report this defect"
            )
        rows = count
        if count < pad_to <= self.free_tokens:
            rows = pad_to
        if count > self.free_tokens:
            raise ContextOverflowError(
                f"{len(self.tokens) + count} tokens do not fit a context of {self.n_ctx}",
                "use a larger `ctx_size` or a shorter prompt",
            )
        past = len(self.tokens)
        if self._unsettled:
            self._remove_from(past)
        # Ctrl-C can come between any two lines: then the next call takes back what `tokens` does not list.
        self._unsettled = True
        batch.tokens[:count] = tokens
        batch.tokens[count:rows] = tokens[-1]
        batch.positions[:rows] = np.arange(past, past + rows, dtype=np.int32)
        batch.outputs[:rows] = 0
        batch.outputs[count - outputs : count] = 1
        with self.shortlist.applied() if self.shortlist else nullcontext():
            code = llama_decode(self.handle, batch.take(rows))
        if code or (self._callback is not None and self._callback.failed):
            self._remove_from(past)
            if self._callback is not None:
                self._callback.raise_error()
            raise decode_error(code, rows, self.n_ctx)
        self.tokens.extend(tokens)
        self.n_outputs = outputs
        if rows > count:
            self._remove_from(past + count)
        self._unsettled = False

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
        with HeldInterrupts() as held, self._abortable(held):
            for start in range(0, len(tokens), self.settings.n_batch):
                if held.pending:
                    break
                self.decode(tokens[start : start + self.settings.n_batch], outputs=1)

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
        row = self.logits(1)[0]
        if self.shortlist is None:
            best = int(row.argmax())
            return best, top_two_gap(row, best)
        ids = self.shortlist.ids
        listed = row[ids]
        place = int(listed.argmax())
        return int(ids[place]), top_two_gap(listed, place)

    def rollback(self, n_past: int) -> None:
        """Forgets all tokens from position `n_past` on; nothing where the cache holds no more than that.

        Raises:
            EngineError: this model's memory cannot take tokens back (recurrent models).
        """
        if n_past >= len(self.tokens):
            return
        if n_past == 0:
            self.clear()
            return
        self._unsettled = True
        del self.tokens[n_past:]
        self._remove_from(n_past)
        self._unsettled = False

    def save(self) -> SavedCache:
        """A copy of all that the cache holds.

        Raises:
            EngineError: llama.cpp copied only a part.
        """
        return SavedCache(tuple(self.tokens), read_sequence(self._lib, self.handle, _SEQUENCE))

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
        self._unsettled = False

    def clear(self) -> None:
        """Forgets everything."""
        self._unsettled = True
        self.tokens.clear()
        self._lib.llama_memory_clear(self._memory, False)
        self._unsettled = False


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
