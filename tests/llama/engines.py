"""Contexts on tiny models, and what to compare them with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model

TEXT = "the cat and the hat on the other side of the sand and the sea"


def settings(**changes: Any) -> ContextSettings:
    """Of a small context that keeps 16 rows of logits."""
    return ContextSettings(**{"n_ctx": 256, "n_threads": 1, "n_outputs_max": 16, **changes})


def fresh_logits(
    path: Path, tokens: Sequence[int], prefix: Sequence[int] = (), **changes: Any
) -> NDArray[np.float32]:
    """Logits after every one of the last 16 `tokens` at most, from a context that never saw anything else."""
    with Model(path) as model, Context(model, settings(**changes)) as context:
        if prefix:
            context.decode(prefix)
        context.decode(tokens, outputs=min(len(tokens), 16))
        return context.logits(min(len(tokens), 16)).copy()


def assert_close(left: NDArray[np.float32], right: NDArray[np.float32]) -> None:
    """Equal but for the last bits, which depend on the number of rows that were computed together."""
    np.testing.assert_allclose(left, right, rtol=0, atol=1e-3)
