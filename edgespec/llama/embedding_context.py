"""A context that makes vectors of texts, each read whole in one batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import ContextOverflowError, EngineError
from edgespec.llama.context_errors import decode_error
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.native_context import NativeContext

Vectors = NDArray[np.float32]


class EmbeddingContext(NativeContext):
    """Gives one vector for each text: what the model made of its tokens, pooled.

    Args:
        model: Loaded with its weights; freed after this.
        settings: Its `n_ctx` tokens are read at once.
        pooling: `llama_pooling_type` of llama.h.
        n_texts: Read at once, at most.

    Raises:
        NotEnoughMemoryError: llama.cpp could not allocate its buffers.
        EngineError: another refusal, in llama.cpp's words.
    """

    def __init__(self, model: Model, settings: ContextSettings, pooling: int, n_texts: int) -> None:
        self._pooling = pooling
        whole = replace(
            settings,
            n_batch=settings.n_ctx,
            n_outputs_max=settings.n_ctx,
            n_sequences=n_texts,
            kv_unified=True,
            n_snapshots=0,
        )
        super().__init__(model, whole)
        ranks = pooling == self._lib.LLAMA_POOLING_TYPE_RANK
        width_of = self._lib.llama_model_n_cls_out if ranks else self._lib.llama_model_n_embd_out
        self.width = int(width_of(model.handle))
        """Of a vector; a reranker's is as long as the file names classes, of which the first counts."""
        self._has_memory = bool(self._memory)

    def _params(self) -> Any:
        params = super()._params()
        params.embeddings = True
        params.pooling_type = self._pooling
        return params

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """The vectors of some texts, `[n_texts, width]`, as the model gives them.

        Args:
            texts: Tokens of each, one at least; together no more than `settings.n_ctx`.

        Raises:
            ContextOverflowError: they are too many tokens.
            EngineError: llama.cpp failed, or the texts are no batch.
        """
        lengths = [len(text) for text in texts]
        rows = sum(lengths)
        if not 0 < len(texts) <= self.settings.n_sequences or not all(lengths):
            # llama.cpp would end the whole process.
            raise EngineError(f"{len(texts)} texts are not a batch", "please report this defect")
        if rows > self.settings.n_batch:
            raise ContextOverflowError(
                f"{rows} tokens do not fit a context of {self.n_ctx}", "use shorter texts", n_tokens=rows
            )
        batch = self._batch
        batch.tokens[:rows] = np.concatenate([np.asarray(text, np.int32) for text in texts])
        batch.positions[:rows] = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
        batch.sequences[:rows] = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)
        batch.outputs[:rows] = 1
        if self._has_memory:
            self._lib.llama_memory_clear(self._memory, False)
        code = self._compute(rows)
        if code:
            raise decode_error(code, rows, self.n_ctx)
        vectors = np.empty((len(texts), self.width), np.float32)
        for number in range(len(texts)):
            pointer = self._lib.llama_get_embeddings_seq(self.handle, number)
            if not pointer:
                raise EngineError("llama.cpp returned no vector", "this is a defect: please report it")
            vectors[number] = np.ctypeslib.as_array(pointer, shape=(self.width,))
        return vectors
