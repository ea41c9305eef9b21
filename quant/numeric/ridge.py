"""Ridge regression of a projection's change on its inputs, in whichever space is smaller.

With H the inputs, (n, k), and R what they shall explain, (n, n_rows), the change (H'H + a)^-1 H'R is also
H'(HH' + a)^-1 R (Saunders, Gammerman and Vovk, "Ridge regression learning algorithm in dual variables", ICML 1998).
The first system is k wide, the second n: 4,000 tokens and an FFN of 9,000 neurons differ by ten in time.
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
and the drift step then mostly does best with much or with no change."""


def ridge_fit(n_rows: int, n_columns: int, n_tokens: int) -> "RidgeFit":
    """An empty fit for a weight of (n_rows, n_columns), of windows that will hold `n_tokens` together."""
    return (_ByToken if n_tokens < n_columns else _ByColumn)(n_rows, n_columns, n_tokens)


class RidgeFit(ABC):
    """Both steps of quant/prune/repair.py for one projection, from windows that are added one by one.

    The system, (size, size), and the right sides, (size, n_rows), are in tokens or in columns.
    """

    def __init__(self, n_rows: int, n_columns: int, size: int) -> None:
        self._n_columns = n_columns
        self._drift = np.zeros((size, n_rows), np.float32)
        self._own: Matrix | None = None
        self._held_out: list[tuple[Matrix, Matrix | None, Matrix]] = []

    def judge(self, activations: Matrix, own: Matrix | None, drift: Matrix, token_weights: Matrix) -> None:
        """Takes a window that the ridges are chosen on and the weight is not fitted to; arguments as of `add`."""
        roots = np.sqrt(token_weights)[:, None]
        self._held_out.append((activations * roots, None if own is None else own * roots, drift * roots))

    def add(self, activations: Matrix, own: Matrix | None, drift: Matrix, token_weights: Matrix) -> None:
        """Adds a window: activations (n_ctx, k), residuals (n_ctx, n_rows), weights (n_ctx,)."""
        roots = np.sqrt(token_weights)[:, None]
        if own is not None and self._own is None:
            self._own = np.zeros_like(self._drift)
        self._add(activations * roots, None if own is None else own * roots, drift * roots)

    def solve(self, ridges: Ridges) -> tuple[Matrix, Ridges]:
        """What the weight changes by, (n_rows, k), and the ridges that leave least of the held-out residuals."""
        system = self._system()
        unit = float(np.trace(system)) / self._n_columns
        seen = [(self._as_seen(rows), own, drift) for rows, own, drift in self._held_out]
        drift, own, own_ridges = self._drift, np.zeros_like(self._drift), ridges.own
        if self._own is not None:
            residuals = [(rows, part) for rows, part, _ in seen if part is not None]
            own, best = _best(_solutions(system, self._own, ridges.own, unit), residuals)
            drift, own_ridges = drift - system @ own, (best,)
        residuals = [(rows, part - rows @ own) for rows, _, part in seen]
        change, best = _best(_solutions(system, drift, ridges.drift, unit), residuals)
        return np.ascontiguousarray(self._in_columns(own + change).T), Ridges(own_ridges, (best,))

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
