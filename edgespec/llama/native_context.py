"""What every context has: llama.cpp's handle with its cache, the rows of a decode, and the logits that it left."""

import sys
from ctypes import addressof
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import EngineError
from edgespec.lifetime import Closes
from edgespec.llama.computing import computing_lock
from edgespec.llama.context_errors import creation_error
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.eval_callback import EvalCallback
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.library import ClosedLibrary, load_library, take_native_errors
from edgespec.llama.model import Model
from edgespec.llama.rollback import SequenceMemory, find_abilities
from edgespec.llama.row_batch import RowBatch

Logits = NDArray[np.float32]

_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
"""`llama_flash_attn_type` of llama.h."""
_MORE_ROWS = 2
"""Than snapshots, that are computed at once at least."""


class NativeContext(Closes):
    """A context of a model, empty. `n_outputs` is how many rows of logits the last decode left; `abilities` is what its memory can do.

    Args:
        model: Loaded with its weights; freed after this.
        settings: How it is made.
        callback: Sees every graph. What it reads must lie in the main memory, so nothing is computed elsewhere then.

    Raises:
        NotEnoughMemoryError: llama.cpp could not allocate the cache or its buffers.
        UsageError: the model cannot have a cache of that type.
        EngineError: another refusal, in llama.cpp's words.
    """

    def __init__(
        self, model: Model, settings: ContextSettings, *, callback: EvalCallback | None = None
    ) -> None:
        self.model = model
        self.settings = settings
        self._callback = callback
        self.n_outputs = 0
        self._lib: Any = load_library()
        self._logits_address = 0
        self._computing = computing_lock()
        self.handle: Any = None
        self._sequences: list[SequenceMemory] = []
        take_native_errors()
        try:
            with HeldInterrupts():
                self.handle = self._lib.llama_init_from_model(model.handle, self._params())
        except KeyboardInterrupt:
            self.close()
            raise
        if not self.handle:
            raise creation_error(model.path.name, settings, take_native_errors())
        self.n_ctx: int = min(self._lib.llama_n_ctx(self.handle), model.n_positions or sys.maxsize)
        self._memory: Any = self._lib.llama_get_memory(self.handle)
        self._batch = RowBatch(self._lib, settings.n_batch)
        self.abilities = find_abilities(self._lib, model.handle, self.handle, settings)

    def _params(self) -> Any:
        wanted = self.settings
        params = self._lib.llama_context_default_params()
        params.n_ctx = wanted.n_ctx
        params.n_batch = wanted.n_batch
        params.n_ubatch = wanted.n_batch
        params.n_seq_max = wanted.n_sequences
        params.kv_unified = wanted.kv_unified
        params.n_outputs_max = wanted.n_outputs_max
        params.n_threads = wanted.n_threads
        # A verification is a batch in llama.cpp's eyes (llama-context.cpp, graph_compute): same threads for both.
        params.n_threads_batch = wanted.n_threads
        params.type_k = int(wanted.type_k)
        params.type_v = int(wanted.type_v)
        params.offload_kqv = wanted.kv_offload
        params.flash_attn_type = _FLASH_ATTENTION[wanted.flash_attention]
        params.swa_full = wanted.full_window
        # llama.cpp keeps the snapshots of a sequence in one piece of a batch.
        params.n_rs_seq = min(wanted.n_snapshots, max(wanted.n_batch - _MORE_ROWS, 0))
        params.no_perf = True
        if self._callback is not None:
            params.cb_eval = self._callback.native
            params.op_offload = False
            params.offload_kqv = False
        return params

    def _compute(self, rows: int) -> int:
        """Decodes the first rows of the batch; llama.cpp's code."""
        with self._computing:
            code: int = self._lib.llama_decode(self.handle, self._batch.take(rows))
        return code

    def logits(self, rows: int = 1) -> Logits:
        """The logits of the last decode, `[rows, n_vocab]`: a view, valid until the next decode.

        Waits for devices that compute on their own.

        Args:
            rows: How many of the `n_outputs` there are, in the order of the batch.

        Raises:
            EngineError: there are none, as before the first decode.
        """
        pointer = self._lib.llama_get_logits(self.handle)
        if not pointer:
            raise EngineError("llama.cpp returned no logits", "this is a defect: please report it")
        address = addressof(pointer.contents)
        if address != self._logits_address:
            # Making a view of a pointer takes 40 us, more than finding the best logit.
            shape = (self.settings.n_outputs_max, self.model.n_vocab)
            self._logits, self._logits_address = np.ctypeslib.as_array(pointer, shape=shape), address
        return self._logits[:rows]

    def close(self) -> None:
        """Frees the cache and its buffers, when no thread computes with them. A second call does nothing."""
        with self._computing:
            if self.handle:
                self._lib.llama_free(self.handle)
                self.handle = None
        self._lib = ClosedLibrary(f"the context of {self.model.path.name}")
        for sequence in self._sequences:
            sequence.lib = self._lib

    def _sequence_memory(self, sequence: int) -> SequenceMemory:
        name = self.model.path.name
        made = SequenceMemory(self._lib, self.handle, self._memory, self.abilities, sequence, name)
        self._sequences.append(made)
        return made
