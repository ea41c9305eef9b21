"""Refitted weights on their way into the new file, and the ridges that their fits are offered."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.library import default_threads
from edgespec.llama.weights import dequantize, quantize
from quant.gguf.plan import GgufPlan
from quant.gguf.tensor_sources import ComputedTensor
from quant.gguf.tensors import find_tensor, replace_tensors
from quant.numeric.residual_stream import Matrix
from quant.numeric.ridge import Ridges

_MANY_COLUMNS: Final = 2048
"""A fit of more offers all ridges only now and then: each is a factorization, whose time grows with the cube of the
columns."""
_ALL_EVERY: Final = 4
"""Blocks from one at which a wide matrix is offered all ridges to the next; those between keep its choice."""


class RefittedWeights:
    """A plan whose weights are exchanged one by one; the new ones lie in a folder until the plan is written.

    Args:
        gguf: The plan to begin with.
        folder: Takes the weights; its owner removes it.
    """

    def __init__(self, gguf: GgufPlan, folder: Path) -> None:
        self.gguf = gguf
        """With all that was exchanged so far."""
        self._folder = folder

    def exchange(self, name: str, weight: Matrix, importance: Matrix) -> Matrix:
        """Stores a weight in its tensor's type, and gives it back as that type holds it.

        Args:
            name: Of the tensor, such as `blk.3.ffn_down.weight`.
            weight: `[n_rows, n_columns]`.
            importance: How much each column counts when it is quantized, `[n_columns]`.

        Returns:
            `[n_rows, n_columns]`.

        Raises:
            EngineError: ggml cannot write the tensor's type.
        """
        tensor = find_tensor(self.gguf, name)
        assert tensor is not None
        n_threads = default_threads()
        data = quantize(np.ascontiguousarray(weight), tensor.ggml_type, importance, n_threads)
        file = self._folder / name
        data.tofile(file)
        stored = replace(tensor, source=ComputedTensor(partial(_stored_bytes, file)))
        self.gguf = replace_tensors(self.gguf, {name: stored})
        return dequantize(data, tensor.ggml_type, (weight.shape[0], weight.shape[1]), n_threads)


def _stored_bytes(file: Path) -> NDArray[np.uint8]:
    return np.fromfile(file, np.uint8)


@dataclass(slots=True, eq=False)
class RidgeOffers:
    """Which ridges a fit chooses from: all of them; for wide matrices only now and then."""

    ridges: Ridges
    _chosen: dict[str, Ridges] = field(default_factory=dict)
    """Those of the last fit, by projection."""

    def offer(self, block: int, name: str, n_columns: int) -> Ridges:
        """For the projection `name` of a block: those that its last fit chose, or all."""
        chosen = self._chosen.get(name)
        if chosen is None or n_columns <= _MANY_COLUMNS or block % _ALL_EVERY == 0:
            return self.ridges
        return chosen

    def remember(self, name: str, chosen: Ridges) -> None:
        """Notes what the fit of a projection chose."""
        self._chosen[name] = chosen
