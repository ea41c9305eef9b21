"""A context: the KV cache of a model, one sequence in it, and decodes of a few rows at a time."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from ctypes import POINTER, addressof, c_uint8
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import ContextOverflowError, EngineError
from edgespec.lifetime import Closes
from edgespec.llama.context_errors import creation_error, decode_error
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.library import ClosedLibrary, load_library, take_native_errors
from edgespec.llama.model import Model
from edgespec.llama.shortlist import Shortlist
from edgespec.llama.tap import Tap

Logits = NDArray[np.float32]

_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
_SEQUENCE = 0


@dataclass(frozen=True, slots=True)
class SavedCache:
    """What a context's cache holds, for other contexts of the same model; `data` is llama.cpp's own form."""

    tokens: tuple[int, ...]
    data: NDArray[np.uint8]


class Context(Closes):
    """One sequence of tokens in a model's KV cache.

    `tokens` is what the cache holds, in order: position i holds `tokens[i]`; `n_outputs` is how many rows of logits
    the last decode left. A `tap` sees every graph; what its handlers raise, `decode` raises. With a `shortlist` only
    the logits of its tokens are computed.

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
        tap: Tap | None = None,
        shortlist: Shortlist | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self._tap = tap
        self.shortlist = shortlist
        self.tokens: list[int] = []
        self.n_outputs = 0
        self._lib: Any = load_library()
        self._unsettled = False
        self._logits_address = 0
        self._batch: Any = None
        self.handle: Any = None
        take_native_errors()
        try:
            with HeldInterrupts():
                self.handle = self._lib.llama_init_from_model(model.handle, self._params())
        except KeyboardInterrupt:
            self.close()
            raise
        if not self.handle:
            raise creation_error(model.path.name, settings, take_native_errors())
        self.n_ctx: int = self._lib.llama_n_ctx(self.handle)
        self._memory: Any = self._lib.llama_get_memory(self.handle)
        self._make_batch(settings.n_batch)

    def _params(self) -> Any:
        wanted = self.settings
        params = self._lib.llama_context_default_params()
        params.n_ctx = wanted.n_ctx
        params.n_batch = wanted.n_batch
        params.n_ubatch = wanted.n_batch
        params.n_outputs_max = wanted.n_outputs_max
        params.n_threads = wanted.n_threads
        # A verification is a batch in llama.cpp's eyes (llama-context.cpp, graph_compute): same threads for both.
        params.n_threads_batch = wanted.n_threads
        params.type_k = int(wanted.type_k)
        params.type_v = int(wanted.type_v)
        params.flash_attn_type = _FLASH_ATTENTION[wanted.flash_attention]
        # Speculation takes tokens back; a sliding-window cache of minimal size could not.
        params.swa_full = True
        params.no_perf = True
        if self._tap is not None:
            params.cb_eval = self._tap.callback
            params.op_offload = False
            params.offload_kqv = False
        return params

    def _make_batch(self, rows: int) -> None:
        batch = self._batch = self._lib.llama_batch_init(rows, 0, 1)
        self._batch_tokens = np.ctypeslib.as_array(batch.token, shape=(rows,))
        self._batch_positions = np.ctypeslib.as_array(batch.pos, shape=(rows,))
        self._batch_outputs = np.ctypeslib.as_array(batch.logits, shape=(rows,))
        for row in range(rows):
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = _SEQUENCE

    @property
    def n_past(self) -> int:
        """Tokens in the cache."""
        return len(self.tokens)

    @property
    def room(self) -> int:
        """Tokens that still fit."""
        return self.n_ctx - len(self.tokens)

    def decode(self, tokens: Sequence[int], *, outputs: int = 1, pad_to: int = 0) -> None:
        """Evaluates `tokens` after what the cache holds, as one batch.

        Args:
            tokens: At most `settings.n_batch` ids.
            outputs: Logits are computed for that many rows at the end of `tokens`.
            pad_to: Adds rows without logits up to this batch size and takes them back at once: on some
                backends 4 rows cost less than 3 (notes in docs/how-it-decides.md).

        Raises:
            ContextOverflowError: the rows do not fit the context.
            EngineError: llama.cpp failed; the cache is left as it was before.
        """
        llama_decode = self._lib.llama_decode  # first of all: a closed context's batch is freed memory
        count = len(tokens)
        if not 0 < outputs <= min(count, self.settings.n_outputs_max) or count > self.settings.n_batch:
            # llama.cpp would end the whole process.
            raise EngineError(
                f"{count} rows with {outputs} outputs are no batch", "please report this defect"
            )
        rows = count
        if count < pad_to <= self.room:
            rows = pad_to
        if count > self.room:
            raise ContextOverflowError(
                f"{len(self.tokens) + count} tokens do not fit a context of {self.n_ctx}",
                "use a larger --ctx-size or a shorter prompt",
            )
        past = len(self.tokens)
        if self._unsettled:
            self._remove_from(past)
        # Ctrl-C can come between any two lines: then the next call takes back what `tokens` does not list.
        self._unsettled = True
        self._batch_tokens[:count] = tokens
        self._batch_tokens[count:rows] = tokens[-1]
        self._batch_positions[:rows] = np.arange(past, past + rows, dtype=np.int32)
        self._batch_outputs[:rows] = 0
        self._batch_outputs[count - outputs : count] = 1
        self._batch.n_tokens = rows
        with self.shortlist.applied() if self.shortlist else nullcontext():
            code = llama_decode(self.handle, self._batch)
        if code or (self._tap is not None and self._tap.failed):
            self._remove_from(past)
            if self._tap is not None:
                self._tap.raise_error()
            raise decode_error(code, rows, self.n_ctx)
        self.tokens.extend(tokens)
        self.n_outputs = outputs
        if rows > count:
            self._remove_from(past + count)
        self._unsettled = False

    def prefill(self, tokens: Sequence[int]) -> None:
        """Evaluates a prompt in batches; logits of its last token only. Ctrl-C stops it inside a batch.

        Raises:
            ContextOverflowError: before anything is evaluated, if the prompt does not fit.
            KeyboardInterrupt: the user stopped it; what was evaluated stays in the cache.
        """
        if len(tokens) >= self.room:
            raise ContextOverflowError(
                f"the prompt has {len(self.tokens) + len(tokens)} tokens and the context {self.n_ctx}",
                "use a larger --ctx-size or a shorter prompt",
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

    def logits(self, rows: int = 1) -> Logits:
        """The logits of the last decode, shape (rows, n_vocab): a view, valid until the next decode."""
        pointer = self._lib.llama_get_logits(self.handle)
        if not pointer:
            raise EngineError("llama.cpp returned no logits", "this is a defect: please report it")
        address = addressof(pointer.contents)
        if address != self._logits_address:
            # Making a view of a pointer takes 40 us, more than finding the best logit.
            shape = (self.settings.n_outputs_max, self.model.n_vocab)
            self._logits, self._logits_address = np.ctypeslib.as_array(pointer, shape=shape), address
        return self._logits[:rows]

    def best_guess(self) -> tuple[int, float]:
        """The best token after the last decode, and its lead in logits over the second; of the shortlist, if there is one."""
        row = self.logits(1)[0]
        if self.shortlist is None:
            best = int(row.argmax())
            return best, top_two_gap(row, best)
        ids = self.shortlist.ids
        listed = row[ids]
        place = int(listed.argmax())
        return int(ids[place]), top_two_gap(listed, place)

    def rollback(self, n_past: int) -> None:
        """Forgets all tokens from position `n_past` on.

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
        """A copy of all that the cache holds."""
        size = self._lib.llama_state_seq_get_size(self.handle, _SEQUENCE)
        data = np.empty(size, np.uint8)
        written = self._lib.llama_state_seq_get_data(self.handle, _as_bytes(data), size, _SEQUENCE)
        if written != size:
            raise EngineError(
                f"llama.cpp copied {written} of {size} bytes of a cache", "please report this defect"
            )
        return SavedCache(tuple(self.tokens), data)

    def restore(self, saved: SavedCache) -> None:
        """Holds what another context of the same model held, and nothing else.

        Raises:
            ContextOverflowError: it does not fit.
            EngineError: llama.cpp cannot take it, as from another model; the cache is empty then.
        """
        self.clear()
        if len(saved.tokens) > self.n_ctx:
            raise ContextOverflowError(
                f"{len(saved.tokens)} tokens do not fit a context of {self.n_ctx}", "use a larger --ctx-size"
            )
        self._unsettled = True
        data = saved.data
        if not self._lib.llama_state_seq_set_data(self.handle, _as_bytes(data), data.size, _SEQUENCE):
            self.clear()
            raise EngineError(
                f"llama.cpp cannot restore a cache: {take_native_errors() or 'no reason given'}"
            )
        self.tokens.extend(saved.tokens)
        self._unsettled = False

    def clear(self) -> None:
        """Forgets everything."""
        self._unsettled = True
        self.tokens.clear()
        self._lib.llama_memory_clear(self._memory, False)
        self._unsettled = False

    def close(self) -> None:
        """Frees the cache and its buffers. A second call does nothing."""
        if self._batch is not None:
            self._lib.llama_batch_free(self._batch)
            self._batch = None
        if self.handle:
            self._lib.llama_free(self.handle)
            self.handle = None
        self._lib = ClosedLibrary(f"the context of {self.model.path.name}")

    def _remove_from(self, position: int) -> None:
        if not self._lib.llama_memory_seq_rm(self._memory, _SEQUENCE, position, -1):
            raise EngineError(
                f"{self.model.path.name} cannot take tokens back from its memory",
                "run it with --draft none: speculation needs a model that can",
            )


def _as_bytes(data: NDArray[np.uint8]) -> Any:
    return data.ctypes.data_as(POINTER(c_uint8))


def top_two_gap(row: Logits, best: int) -> float:
    """Best minus second best logit of one row; infinite for a vocabulary of one."""
    value = float(row[best])
    row[best] = -np.inf
    second = float(row.max())
    row[best] = value
    return value - second if math.isfinite(second) else math.inf
