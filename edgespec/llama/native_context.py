"""What every context has: llama.cpp's handle with its cache, the rows of a decode, and the logits that it left."""

from ctypes import addressof
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import EngineError
from edgespec.lifetime import Closes
from edgespec.llama.context_errors import creation_error
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.eval_callback import EvalCallback
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.library import ClosedLibrary, load_library, take_native_errors
from edgespec.llama.model import Model
from edgespec.llama.row_batch import RowBatch

Logits = NDArray[np.float32]

_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
"""`llama_flash_attn_type` of llama.h."""


class NativeContext(Closes):
    """A context of a model, empty. `n_outputs` is how many rows of logits the last decode left.

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
        self._batch = RowBatch(self._lib, settings.n_batch)

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
        params.flash_attn_type = _FLASH_ATTENTION[wanted.flash_attention]
        # Speculation takes tokens back; a sliding-window cache of minimal size could not.
        params.swa_full = True
        params.no_perf = True
        if self._callback is not None:
            params.cb_eval = self._callback.native
            params.op_offload = False
            params.offload_kqv = False
        return params

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
        """Frees the cache and its buffers. A second call does nothing."""
        if self.handle:
            self._lib.llama_free(self.handle)
            self.handle = None
        self._lib = ClosedLibrary(f"the context of {self.model.path.name}")

    def _remove_from(self, position: int, sequence: int = 0) -> None:
        if not self._lib.llama_memory_seq_rm(self._memory, sequence, position, -1):
            raise EngineError(
                f"{self.model.path.name} cannot take tokens back from its memory",
                "run it with `draft` none: speculation needs a model that can",
            )
