"""Ridge regression of a projection's change on its inputs, in whichever space is smaller.

With H the inputs, `[n, n_columns]`, and R what they shall explain, `[n, n_rows]`, the change (H'H + a)^-1 H'R is also
H'(HH' + a)^-1 R (Saunders, Gammerman and Vovk, "Ridge regression learning algorithm in dual variables", ICML 1998).
The first system is `n_columns` wide, the second n: 4,000 tokens and an FFN of 9,000 neurons differ by ten in time.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from quant.numeric.residual_stream import Matrix

NO_CHANGE: Final = math.inf
"""The ridge of a weight that stays as it is."""


@dataclass(frozen=True, slots=True)
class Ridges:
    """Those of both steps to choose from, in units of the mean diagonal of H'H; the chosen ones are single."""

    own: tuple[float, ...]
    drift: tuple[float, ...]


DEFAULT_RIDGES: Final = Ridges(own=(0.01, 0.1, 1.0, 10.0, NO_CHANGE), drift=(0.1, 0.3, 1.0, 10.0, NO_CHANGE))
"""The own step explains what stands in the same block, and may lean on it more; with fewer tokens than columns it may not,
and the drift step then mostly does best with much or with no change (docs/pruning.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class FitWindow:
    """One window's inputs and the residuals that a change is to explain, each row times the root of its token's weight.

    So weighted, a plain sum of squares over the rows is the weighted one.
    """

    inputs: Matrix
    """`[n_ctx, n_columns]`."""
    own: Matrix | None
    """What was taken out of this projection, `[n_ctx, n_rows]`; None where it took nothing."""
    drift: Matrix
    """What separates the residual stream from the dense one, `[n_ctx, n_rows]`."""

    @classmethod
    def weighted(
        cls, inputs: Matrix, own: Matrix | None, drift: Matrix, token_weights: Matrix
    ) -> "FitWindow":
        """The window with rows that count by `token_weights`, `[n_ctx]`; the rest in the shapes of the fields."""
        roots = np.sqrt(token_weights)[:, None]
        return cls(inputs * roots, None if own is None else own * roots, drift * roots)


def ridge_fit(n_rows: int, n_columns: int, n_tokens: int) -> "RidgeFit":
    """An empty fit for a weight `[n_rows, n_columns]`, of windows that will hold `n_tokens` together."""
    return (_ByToken if n_tokens < n_columns else _ByColumn)(n_rows, n_columns, n_tokens)


class RidgeFit(ABC):
    """Both steps of quant/prune/repair.py for one projection, from windows that are added one by one.

    The system is `[size, size]` and the right sides are `[size, n_rows]`, where `size` counts tokens or columns.
    """

    def __init__(self, n_rows: int, n_columns: int, size: int) -> None:
        self._n_columns = n_columns
        self._drift = np.zeros((size, n_rows), np.float32)
        self._own: Matrix | None = None
        self._held_out: list[FitWindow] = []

    def add(self, window: FitWindow) -> None:
        """Takes a window that the weight is fitted to."""
        if window.own is not None and self._own is None:
            self._own = np.zeros_like(self._drift)
        self._add(window)

    def judge(self, window: FitWindow) -> None:
        """Takes a window that the ridges are chosen on and the weight is not fitted to."""
        self._held_out.append(window)

    def solve(self, ridges: Ridges) -> tuple[Matrix, Ridges]:
        """What the weight changes by, `[n_rows, n_columns]`, and the ridges that leave least of the held-out residuals.

        First the own step, fitted to `own`; then the drift step, fitted to what the own step leaves of `drift`. The change
        is the sum of both.
        """
        system = self._system()
        unit = float(np.trace(system)) / self._n_columns
        seen = [(self._as_seen(one.inputs), one) for one in self._held_out]
        drift, own, own_ridges = self._drift, np.zeros_like(self._drift), ridges.own
        if self._own is not None:
            residuals = [(rows, one.own) for rows, one in seen if one.own is not None]
            own, best = _best(_solutions(system, self._own, ridges.own, unit), residuals)
            drift, own_ridges = drift - system @ own, (best,)
        residuals = [(rows, one.drift - rows @ own) for rows, one in seen]
        change, best = _best(_solutions(system, drift, ridges.drift, unit), residuals)
        return np.ascontiguousarray(self._in_columns(own + change).T), Ridges(own_ridges, (best,))

    @property
    @abstractmethod
    def mean_squares(self) -> Matrix:
        """Of each column, up to a factor, `[n_columns]`: how much its weights count when they are quantized."""

    @abstractmethod
    def _add(self, window: FitWindow) -> None: ...

    @abstractmethod
    def _system(self) -> Matrix:
        """H'H, `[n_columns, n_columns]`, or HH', `[n_tokens, n_tokens]`."""

    @abstractmethod
    def _as_seen(self, inputs: Matrix) -> Matrix:
        """Inputs, `[n, n_columns]`, as a solution meets them, `[n, size]`: times it they give what it explains."""

    @abstractmethod
    def _in_columns(self, solution: Matrix) -> Matrix:
        """A solution, `[size, n_rows]`, as the change of a weight, `[n_columns, n_rows]`."""


class _ByColumn(RidgeFit):
    """Sums H'H, `[n_columns, n_columns]`, and H'R, `[n_columns, n_rows]`, window by window; a solution is the change."""

    def __init__(self, n_rows: int, n_columns: int, n_tokens: int) -> None:
        super().__init__(n_rows, n_columns, n_columns)
        self._gram = np.zeros((n_columns, n_columns), np.float32)

    def _add(self, window: FitWindow) -> None:
        rows = window.inputs
        self._gram += rows.T @ rows  # one array with itself: BLAS computes half of it
        self._drift += rows.T @ window.drift
        if window.own is not None and self._own is not None:
            self._own += rows.T @ window.own

    @property
    def mean_squares(self) -> Matrix:
        return np.array(self._gram.diagonal())

    def _system(self) -> Matrix:
        return self._gram

    def _as_seen(self, inputs: Matrix) -> Matrix:
        return inputs

    def _in_columns(self, solution: Matrix) -> Matrix:
        return solution


class _ByToken(RidgeFit):
    """Keeps H, `[n_tokens, n_columns]`, and R, `[n_tokens, n_rows]`; a solution weighs tokens, and the change is the sum
    of their inputs under these weights.
    """

    def __init__(self, n_rows: int, n_columns: int, n_tokens: int) -> None:
        super().__init__(n_rows, n_columns, n_tokens)
        self._inputs = np.zeros((n_tokens, n_columns), np.float32)
        self._n_added = 0

    def _add(self, window: FitWindow) -> None:
        here = slice(self._n_added, self._n_added + len(window.inputs))
        self._inputs[here], self._drift[here] = window.inputs, window.drift
        if window.own is not None and self._own is not None:
            self._own[here] = window.own
        self._n_added += len(window.inputs)

    @property
    def mean_squares(self) -> Matrix:
        return np.asarray(np.einsum("nk,nk->k", self._inputs, self._inputs), np.float32)

    def _system(self) -> Matrix:
        return np.asarray(self._inputs @ self._inputs.T)

    def _as_seen(self, inputs: Matrix) -> Matrix:
        return np.asarray(inputs @ self._inputs.T)

    def _in_columns(self, solution: Matrix) -> Matrix:
        return np.asarray(self._inputs.T @ solution)


def _solutions(system: Matrix, right: Matrix, ridges: Sequence[float], unit: float) -> dict[float, Matrix]:
    return {ridge: _solution(system, right, ridge, unit) for ridge in ridges}


def _solution(system: Matrix, right: Matrix, ridge: float, unit: float) -> Matrix:
    if ridge == NO_CHANGE:
        return np.zeros_like(right)
    damped = system.copy()
    damped[np.diag_indices_from(damped)] += ridge * unit
    return np.asarray(np.linalg.solve(damped, right), dtype=np.float32)


def _best(solutions: dict[float, Matrix], held_out: Sequence[tuple[Matrix, Matrix]]) -> tuple[Matrix, float]:
    """The solution that leaves least of residuals that it was not fitted to, and its ridge."""
    ridge = min(
        solutions,
        key=lambda one: sum(
            float(np.square(part - rows @ solutions[one]).sum(dtype=np.float64)) for rows, part in held_out
        ),
    )
    return solutions[ridge], ridge
