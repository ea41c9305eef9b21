"""The tokens that a draft may guess: of its output matrix, the largest there is, only their rows are read.

As in FR-Spec (Zhao et al. 2025, https://arxiv.org/abs/2502.14856) the frequent tokens are listed, and here every token
of the text at hand besides. A draft that may not say the right word costs acceptance, never the text.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ctypes import c_int64, c_void_p

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.build import native_kernels
from edgespec.llama.library import ggml_function

FREQUENT_TOKENS = 32_768
"""Vocabularies list their tokens in the order of their merges, and so about by frequency. Of what Qwen2.5-Coder 1.5B
wrote in answer to 26 questions of Spec-Bench, 0.97 were among these and the tokens of the text before."""
LEAST_SAVED = 2
"""A vocabulary must have that many times as many tokens for a list to be worth its upkeep; chosen, not measured. Qwen2.5's
152k are 4.6 times as many as the frequent ones, SmolLM2's 49k 1.5 times."""
_SIDE_BY_SIDE = 8
"""Rows that ggml's repacked matrices interleave (`block_q4_0x8` of ggml-cpu/repack.h): the kernel skips or takes all."""


class Shortlist:
    """Tokens in groups of eight neighbours, as the kernel multiplies them.

    With 32 tokens, of which the first 8 are frequent, and token 21 in the text, the groups are 0 and 2 and the list is
    0 to 7 and 16 to 23.

    Args:
        n_vocab: Rows of the output matrix, a multiple of 8.
        n_frequent: Leading tokens that are always listed, rounded up to 8.
        extra: Further tokens that are always listed.
    """

    def __init__(self, n_vocab: int, n_frequent: int, extra: Iterable[int] = ()) -> None:
        self._always = np.zeros(n_vocab // _SIDE_BY_SIDE, dtype=bool)
        self._always[: -(-n_frequent // _SIDE_BY_SIDE)] = True
        self._always[[token // _SIDE_BY_SIDE for token in extra]] = True
        self._listed = self._always.copy()
        self.reset()

    def reset(self) -> None:
        """Back to the tokens that are always listed."""
        self._listed[:] = self._always
        self._is_changed = True

    def add(self, tokens: Iterable[int]) -> None:
        """Lists tokens, with their neighbours."""
        groups = [token // _SIDE_BY_SIDE for token in tokens]
        if groups and not self._listed[groups].all():
            self._listed[groups] = True
            self._is_changed = True

    def joined(self, others: Iterable["Shortlist"]) -> "Shortlist":
        """A list of what this one and others of its vocabulary have, as they are now."""
        joined = Shortlist(len(self._always) * _SIDE_BY_SIDE, 0)
        joined._listed[:] = self._listed
        for other in others:
            joined._listed |= other._listed
        return joined

    @property
    def ids(self) -> NDArray[np.intp]:
        """The listed tokens in ascending order, `[n_listed]`."""
        self._refresh()
        return self._ids

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While it is entered, in this thread, output matrices in Q4_0 give other tokens a logit of minus infinity.

        Raises:
            EngineError: this build of llama.cpp has none of edgespec's kernels.
        """
        self._refresh()
        limit = ggml_function("edgespec_shortlist", None, c_void_p, c_int64)
        try:
            limit(self._groups.ctypes.data, len(self._groups))
            yield
        finally:
            limit(None, 0)

    def _refresh(self) -> None:
        if self._is_changed:
            self._groups = np.flatnonzero(self._listed).astype(np.int32)
            self._ids = (
                self._groups[:, None].astype(np.intp) * _SIDE_BY_SIDE + np.arange(_SIDE_BY_SIDE)
            ).ravel()
            self._is_changed = False


def shortlist_for(n_vocab: int, n_frequent: int | None = None, extra: Iterable[int] = ()) -> Shortlist | None:
    """A list for a draft in Q4_0 on the CPU; None where it would save little or the kernels are not at work.

    Args:
        n_vocab: Tokens of the draft.
        n_frequent: Leading tokens that are always listed; None for `FREQUENT_TOKENS`.
        extra: Further tokens that are always listed; those beyond the vocabulary are left out.
    """
    n_frequent = FREQUENT_TOKENS if n_frequent is None else n_frequent
    if n_vocab < LEAST_SAVED * n_frequent or n_vocab % _SIDE_BY_SIDE or not native_kernels().isa:
        return None
    return Shortlist(n_vocab, n_frequent, (token for token in extra if 0 <= token < n_vocab))
