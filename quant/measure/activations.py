"""Statistics of a running model's activations, through llama.cpp's own graphs.

Models are opened on the CPU (`Placement(gpu_layers=0)`). Windows are evaluated one by one in an empty cache, with
logits for every row: the last block computes only the rows that are asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.eval_callback import EvalCallback, Node
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.native_context import Logits
from edgespec.progress import SILENT, Progress
from quant.text.windows import Tokens


@dataclass(slots=True, eq=False)
class Moments:
    """Sums over the rows seen, column by column: `[n_columns]` each."""

    n: int = 0
    """Rows seen."""
    sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sum_squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def add(self, rows: NDArray[np.float32]) -> None:
        """Adds rows, `[n, n_columns]`."""
        if not self.n:
            self.sum, self.sum_squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
        self.n += len(rows)
        self.sum += rows.sum(axis=0, dtype=np.float64)
        self.sum_squares += np.square(rows).sum(axis=0, dtype=np.float64)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Of each column, `[n_columns]`."""
        return self.sum / self.n

    @property
    def mean_square(self) -> NDArray[np.float64]:
        """Of each column, `[n_columns]`."""
        return self.sum_squares / self.n

    @property
    def variance(self) -> NDArray[np.float64]:
        """Of each column over all rows seen, `[n_columns]`."""
        return np.maximum(self.mean_square - self.mean**2, 0)


def run_windows(
    model: Model,
    windows: Tokens,
    callback: EvalCallback | None = None,
    *,
    progress: Progress = SILENT,
    visit: Callable[[int, Logits], None] | None = None,
) -> None:
    """Evaluates every window on its own.

    Args:
        model: On the CPU when there is a callback.
        windows: `[n_windows, n_ctx]` tokens.
        callback: Sees the graphs.
        progress: Advanced once per window.
        visit: Gets a window's number and the logits of all its rows, `[n_ctx, n_vocab]`, valid until it returns.

    Raises:
        NotEnoughMemoryError: the context does not fit.
        KeyboardInterrupt: Ctrl-C, after the running window.
    """
    n_ctx = windows.shape[1]
    settings = ContextSettings(n_ctx, default_threads(), n_outputs_max=n_ctx, n_batch=n_ctx)
    with Context(model, settings, callback=callback) as context:
        for number, window in enumerate(windows):
            context.clear()
            # Ctrl-C inside a handler would be lost in C: it waits for the end of the window.
            with HeldInterrupts():
                context.decode(window.tolist(), outputs=n_ctx)
            if visit is not None:
                visit(number, context.logits(n_ctx))
            progress.advance()


def input_moments(
    model: Model, windows: Tokens, weights: Sequence[str], *, progress: Progress = SILENT
) -> dict[str, Moments]:
    """Moments of what these weights are multiplied with, by the weights' names.

    Args:
        model: On the CPU.
        windows: `[n_windows, n_ctx]` tokens.
        weights: Such as `blk.3.ffn_down.weight`.
        progress: Advanced once per window.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    moments = {name: Moments() for name in weights}

    def add_input(name: str, node: Node) -> None:
        moments[name].add(node.input)

    handlers = {name: partial(add_input, name) for name in weights}
    run_windows(model, windows, EvalCallback(weights=handlers), progress=progress)
    return moments
