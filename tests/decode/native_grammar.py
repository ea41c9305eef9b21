"""llama.cpp's own grammar sampler, which ours is held against. Only grammars that it is known to survive."""

import ctypes
from typing import Any

import numpy as np

from edgespec.llama.library import load_library
from edgespec.llama.model import Model

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class NativeGrammar:
    """A grammar in llama.cpp, at a place in a text."""

    def __init__(self, model: Model, text: str) -> None:
        self._lib: Any = load_library()
        self._n_vocab = model.n_vocab
        self.handle = self._lib.llama_sampler_init_grammar(model.vocab, text.encode(), b"root")
        assert self.handle

    def allowed(self) -> set[int]:
        candidates = np.zeros(self._n_vocab, _CANDIDATE)
        candidates["id"] = np.arange(self._n_vocab)
        given = self._lib.llama_token_data_array()
        given.data = ctypes.cast(candidates.ctypes.data, type(given.data))
        given.size, given.selected = self._n_vocab, -1
        self._lib.llama_sampler_apply(self.handle, ctypes.byref(given))
        return {int(token) for token in np.flatnonzero(np.isfinite(candidates["logit"]))}

    def accept(self, token: int) -> None:
        """One of the allowed ones: another would end the process."""
        self._lib.llama_sampler_accept(self.handle, token)

    def close(self) -> None:
        self._lib.llama_sampler_free(self.handle)
