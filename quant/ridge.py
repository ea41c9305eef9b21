"""Ridge regression of a projection's change on its inputs, in whichever space is smaller.

With H the inputs, (n, k), and R what they shall explain, (n, n_rows), the change (H'H + a)^-1 H'R is also
H'(HH' + a)^-1 R (Saunders, Gammerman and Vovk, "Ridge regression learning algorithm in dual variables", ICML 1998).
The first system is k wide, the second n: 4,000 tokens and an FFN of 9,000 neurons differ by ten in time.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np

from quant.stream import Matrix

OWN_RIDGE: Final = 1e-2


def ridge_fit(n_rows: int, n_columns: int, n_tokens: int) -> "RidgeFit":
    """An empty fit for a weight of (n_rows, n_columns), of windows that will hold `n_tokens` together."""
    return (_ByToken if n_tokens < n_columns else _ByColumn)(n_rows, n_columns, n_tokens)


class RidgeFit(ABC):
    """Both steps of quant/repair.py for one projection, from windows that are added one by one.

    The system, (size, size), and the right sides, (size, n_rows), are in tokens or in columns.
    """

    def __init__(self, n_rows: int, n_columns: int, size: int) -> None:
        self._n_columns = n_columns
        self._drift = np.zeros((size, n_rows), np.float32)
        self._own: Matrix | None = None
        self._held_out: list[tuple[Matrix, Matrix]] = []

    def judge(self, activations: Matrix, drift: Matrix, token_weights: Matrix) -> None:
        """Takes a window that the ridge is chosen on and the weight is not fitted to."""
        roots = np.sqrt(token_weights)[:, None]
        self._held_out.append((activations * roots, drift * roots))

    def add(self, activations: Matrix, own: Matrix | None, drift: Matrix, token_weights: Matrix) -> None:
        """Adds a window: activations (n_ctx, k), residuals (n_ctx, n_rows), weights (n_ctx,)."""
        roots = np.sqrt(token_weights)[:, None]
        if own is not None and self._own is None:
            self._own = np.zeros_like(self._drift)
        self._add(activations * roots, None if own is None else own * roots, drift * roots)

    def solve(self, drift_ridges: Sequence[float]) -> tuple[Matrix, float]:
        """What the weight changes by, (n_rows, k), with the ridge that leaves least of the held-out drift; and that.

        Args:
            drift_ridges: To choose from, in units of the mean diagonal of H'H.
        """
        system = self._system()
        unit = float(np.trace(system)) / self._n_columns
        drift, own = self._drift, np.zeros_like(self._drift)
        if self._own is not None:
            own = _solve(system, self._own, OWN_RIDGE * unit)
            drift = drift - system @ own
        solutions = {ridge: own + _solve(system, drift, ridge * unit) for ridge in drift_ridges}
        best = min(solutions, key=lambda ridge: self._left(solutions[ridge]))
        return np.ascontiguousarray(self._in_columns(solutions[best]).T), best

    def _left(self, solution: Matrix) -> float:
        return sum(
            float(np.square(drift - self._as_seen(rows) @ solution).sum(dtype=np.float64))
            for rows, drift in self._held_out
        )

    @property
    @abstractmethod
    def mean_squares(self) -> Matrix:
        """Of each column, up to a factor: how much its weights count when they are quantized."""

    @abstractmethod
    def _add(self, rows: Matrix, own: Matrix | None, drift: Matrix) -> None: ...

    @abstractmethod
    def _system(self) -> Matrix: ...

    @abstractmethod
    def _as_seen(self, rows: Matrix) -> Matrix:
        """Inputs, (n, k), as a solution meets them."""

    @abstractmethod
    def _in_columns(self, solution: Matrix) -> Matrix:
        """A solution as the change of a weight, (k, n_rows)."""


class _ByColumn(RidgeFit):
    """H'H and H'R, summed window by window."""

    def __init__(self, n_rows: int, n_columns: int, n_tokens: int) -> None:
        super().__init__(n_rows, n_columns, n_columns)
        self._gram = np.zeros((n_columns, n_columns), np.float32)

    def _add(self, rows: Matrix, own: Matrix | None, drift: Matrix) -> None:
        self._gram += rows.T @ rows  # one array with itself: BLAS computes half of it
        self._drift += rows.T @ drift
        if own is not None and self._own is not None:
            self._own += rows.T @ own

    @property
    def mean_squares(self) -> Matrix:
        return np.array(self._gram.diagonal())

    def _system(self) -> Matrix:
        return self._gram

    def _as_seen(self, rows: Matrix) -> Matrix:
        return rows

    def _in_columns(self, solution: Matrix) -> Matrix:
        return solution


class _ByToken(RidgeFit):
    """H and R themselves: a solution weighs tokens, and the change is the sum of their inputs under these weights."""

    def __init__(self, n_rows: int, n_columns: int, n_tokens: int) -> None:
        super().__init__(n_rows, n_columns, n_tokens)
        self._inputs = np.zeros((n_tokens, n_columns), np.float32)
        self._n_added = 0

    def _add(self, rows: Matrix, own: Matrix | None, drift: Matrix) -> None:
        here = slice(self._n_added, self._n_added + len(rows))
        self._inputs[here], self._drift[here] = rows, drift
        if own is not None and self._own is not None:
            self._own[here] = own
        self._n_added += len(rows)

    @property
    def mean_squares(self) -> Matrix:
        return np.asarray(np.einsum("nk,nk->k", self._inputs, self._inputs), np.float32)

    def _system(self) -> Matrix:
        return np.asarray(self._inputs @ self._inputs.T)

    def _as_seen(self, rows: Matrix) -> Matrix:
        return np.asarray(rows @ self._inputs.T)

    def _in_columns(self, solution: Matrix) -> Matrix:
        return np.asarray(self._inputs.T @ solution)


def _solve(system: Matrix, right: Matrix, ridge: float) -> Matrix:
    damped = system.copy()
    damped[np.diag_indices_from(damped)] += ridge
    return np.asarray(np.linalg.solve(damped, right), dtype=np.float32)
