"""Statistics of a running model's activations, through llama.cpp's own graphs.

Models are opened on the CPU (`Placement(gpu_layers=0)`). Windows are evaluated one by one in an empty cache, with
logits for every row: the last block computes only the rows that are asked for.
"""

from collections.abc import Callable, Iterator, Sequence
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
from quant.progress import ChunkProgress
from quant.text.windows import Tokens

_GRAM_BUDGET_BYTES = 1 << 30
"""For the matrices that one pass over the windows fills."""


@dataclass(slots=True, eq=False)
class Moments:
    """Sums over the rows seen, column by column."""

    n: int = 0
    sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sum_squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def add(self, rows: NDArray[np.float32]) -> None:
        """Adds rows, (n, columns)."""
        if not self.n:
            self.sum, self.sum_squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
        self.n += len(rows)
        self.sum += rows.sum(axis=0, dtype=np.float64)
        self.sum_squares += np.square(rows).sum(axis=0, dtype=np.float64)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Of each column."""
        return self.sum / self.n

    @property
    def mean_square(self) -> NDArray[np.float64]:
        """Of each column."""
        return self.sum_squares / self.n

    @property
    def variance(self) -> NDArray[np.float64]:
        """Of each column, over all rows seen."""
        return np.maximum(self.mean_square - self.mean**2, 0)


@dataclass(slots=True, eq=False)
class Gram:
    """X'X and the column sums of the rows seen, in single precision."""

    n: int = 0
    matrix: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def add(self, rows: NDArray[np.float32]) -> None:
        """Adds rows, (n, columns)."""
        if not self.n:
            columns = rows.shape[1]
            self.matrix, self.sum = np.zeros((columns, columns), np.float32), np.zeros(columns)
        self.n += len(rows)
        self.matrix += rows.T @ rows
        self.sum += rows.sum(axis=0, dtype=np.float64)


def run_windows(
    model: Model,
    windows: Tokens,
    tap: EvalCallback | None = None,
    *,
    n_threads: int | None = None,
    progress: ChunkProgress | None = None,
    visit: Callable[[int, Logits], None] | None = None,
) -> None:
    """Evaluates every window on its own.

    Args:
        model: On the CPU when there is a tap.
        windows: (n_windows, n_ctx) tokens.
        tap: Sees the graphs.
        n_threads: None takes the physical cores.
        progress: Told after every window.
        visit: Gets a window's number and the logits of all its rows, (n_ctx, n_vocab), valid until it returns.

    Raises:
        NotEnoughMemoryError: no room for the context.
        KeyboardInterrupt: Ctrl-C, after the running window.
    """
    n_ctx = windows.shape[1]
    settings = ContextSettings(n_ctx, n_threads or default_threads(), n_outputs_max=n_ctx, n_batch=n_ctx)
    with Context(model, settings, callback=tap) as context:
        for number, window in enumerate(windows):
            context.clear()
            # Ctrl-C inside a handler would be lost in C: it waits for the end of the window.
            with HeldInterrupts():
                context.decode(window.tolist(), outputs=n_ctx)
            if visit is not None:
                visit(number, context.logits(n_ctx))
            if progress is not None:
                progress(number + 1, len(windows))


def input_moments(
    model: Model,
    windows: Tokens,
    weights: Sequence[str],
    *,
    n_threads: int | None = None,
    progress: ChunkProgress | None = None,
) -> dict[str, Moments]:
    """Moments of what these weights are multiplied with, by the weights' names.

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    moments = {name: Moments() for name in weights}
    handlers = {name: partial(_add_input, moments[name]) for name in weights}
    run_windows(model, windows, EvalCallback(weights=handlers), n_threads=n_threads, progress=progress)
    return moments


def input_grams(
    model: Model,
    windows: Tokens,
    columns: dict[str, int],
    *,
    n_threads: int | None = None,
    progress: ChunkProgress | None = None,
) -> Iterator[tuple[str, Gram]]:
    """Gram matrices of what these weights are multiplied with, in order; memory for about 1 GiB of them at a time.

    Args:
        model: On the CPU.
        windows: (n_windows, n_ctx) tokens; read anew for every gigabyte of matrices.
        columns: The weights' names and their numbers of columns.
        n_threads: None takes the physical cores.
        progress: Told after every window of every pass.

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    groups = _groups(columns)
    for number, group in enumerate(groups):
        grams = {name: Gram() for name in group}
        handlers = {name: partial(_add_input, grams[name]) for name in group}
        report = _in_pass(progress, number, len(groups))
        run_windows(model, windows, EvalCallback(weights=handlers), n_threads=n_threads, progress=report)
        yield from grams.items()


def _add_input(statistics: Moments | Gram, node: Node) -> None:
    statistics.add(node.input)


def _groups(columns: dict[str, int]) -> list[list[str]]:
    """Names whose matrices fit the budget together; one that alone does not fit is a group of its own."""
    groups: list[list[str]] = []
    used = 0
    for name, n_columns in columns.items():
        size = 4 * n_columns**2
        if not groups or used + size > _GRAM_BUDGET_BYTES:
            groups.append([])
            used = 0
        groups[-1].append(name)
        used += size
    return groups


def _in_pass(progress: ChunkProgress | None, number: int, n_passes: int) -> ChunkProgress | None:
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, n_passes * total)
