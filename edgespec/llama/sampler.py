"""Sampler chains: how the target picks a token. Greedy needs no chain and takes the largest logit."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import UsageError
from edgespec.lifetime import Closes
from edgespec.llama.library import ClosedLibrary, load_library
from edgespec.llama.native_context import NativeContext
from edgespec.ranges import check_ranges

_RANGED: Final = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)
_CANDIDATE: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""`llama_token_data` of llama.h."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling settings under llama.cpp's names. `temperature` 0 is greedy.

    Raises:
        UsageError: a value outside its range.
    """

    temperature: float = 0.0
    top_k: int = 40
    """0 keeps all tokens."""
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_last_n: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(**{setting: getattr(self, setting) for setting in _RANGED})
        if self.repeat_last_n < 0:
            raise UsageError(
                f"`Sampling.repeat_last_n` {self.repeat_last_n} is out of range", "use 0 or more tokens"
            )

    @property
    def penalizes(self) -> bool:
        """Whether earlier tokens change the odds of later ones."""
        return self.repeat_penalty != 1.0 or self.presence_penalty != 0.0 or self.frequency_penalty != 0.0

    @property
    def is_plain_greedy(self) -> bool:
        """Whether the choice is the largest logit and nothing else."""
        return self.temperature == 0.0 and not self.penalizes


class Sampler(Closes):
    """A llama.cpp sampler chain, stepped once per emitted token.

    Its order is that of llama.cpp's common/sampling.cpp: penalties, top-k, top-p, min-p, temperature, and the draw.

    Args:
        settings: What the chain is made of.
        n_vocab: Tokens of the vocabulary.
    """

    def __init__(self, settings: Sampling, n_vocab: int) -> None:
        self.settings = settings
        self._n_vocab = n_vocab
        self._lib: Any = load_library()
        params = self._lib.llama_sampler_chain_default_params()
        self.handle: Any = self._lib.llama_sampler_chain_init(params)
        for stage in self._stages():
            self._lib.llama_sampler_chain_add(self.handle, stage)

    def _stages(self) -> list[Any]:
        lib, s = self._lib, self.settings
        stages = []
        if s.penalizes:
            stages.append(
                lib.llama_sampler_init_penalties(
                    self._n_vocab, s.repeat_last_n, s.repeat_penalty, s.frequency_penalty, s.presence_penalty
                )
            )
        if s.temperature == 0.0:
            return [*stages, lib.llama_sampler_init_greedy()]
        if s.top_k > 0:
            stages.append(lib.llama_sampler_init_top_k(s.top_k))
        if s.top_p < 1.0:
            stages.append(lib.llama_sampler_init_top_p(s.top_p, 1))
        if s.min_p > 0.0:
            stages.append(lib.llama_sampler_init_min_p(s.min_p, 1))
        stages.append(lib.llama_sampler_init_temp(s.temperature))
        return [*stages, lib.llama_sampler_init_dist(s.seed)]

    def start(self, prompt: Sequence[int]) -> None:
        """Resets the chain to its seed and shows it the prompt, which the penalties count."""
        self._lib.llama_sampler_reset(self.handle)
        if self.settings.penalizes:
            for token in prompt[-self.settings.repeat_last_n :]:
                self._lib.llama_sampler_accept(self.handle, token)

    def sample(self, context: NativeContext, row: int) -> int:
        """Picks and accepts the token after an output row of the last decode.

        Args:
            context: Where it was decoded.
            row: Counted over the rows with logits, 0 to `context.n_outputs` - 1.
        """
        # llama.cpp counts positive indices over all rows of the batch and negative ones over those with logits.
        index = row - context.n_outputs
        return int(self._lib.llama_sampler_sample(self.handle, context.handle, ctypes.c_int32(index)))

    def draw(self, logits: NDArray[np.float32], ids: NDArray[np.int64] | None = None) -> int:
        """Draws a token from a row of logits, of all of them or of some. `accept` tells the chain which one it was to be.

        Args:
            logits: Of all tokens, `[n_vocab]`.
            ids: The tokens to draw from, in an order that does not change from one run to the next.
        """
        candidates = np.empty(len(logits) if ids is None else len(ids), _CANDIDATE)
        candidates["id"] = np.arange(len(logits)) if ids is None else ids
        candidates["logit"] = logits if ids is None else logits[ids]
        candidates["p"] = 0.0
        given = self._lib.llama_token_data_array()
        given.data = ctypes.cast(candidates.ctypes.data, type(given.data))
        given.size, given.selected, given.sorted = len(candidates), -1, False
        self._lib.llama_sampler_apply(self.handle, ctypes.byref(given))
        return int(given.data[given.selected].id)

    def accept(self, token: int) -> None:
        """The token is part of the answer: the penalties count it."""
        self._lib.llama_sampler_accept(self.handle, token)

    def close(self) -> None:
        """Frees the chain. A second call does nothing."""
        if self.handle:
            self._lib.llama_sampler_free(self.handle)
            self.handle = None
        self._lib = ClosedLibrary("the sampler")
