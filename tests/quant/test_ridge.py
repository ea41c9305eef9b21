"""Both forms of the ridge regression give the least-squares solution that the formula says."""

import numpy as np
import pytest
from numpy.typing import NDArray

from quant.numeric.ridge import NO_CHANGE, FitWindow, RidgeFit, Ridges, ridge_fit

N_CTX, N_ROWS = 8, 5


def filled(n_columns: int, n_windows: int, *, own: bool, n_tokens: int | None = None) -> RidgeFit:
    """A fit of the windows 1 to n, which judges by window 0."""
    fit = ridge_fit(N_ROWS, n_columns, n_tokens or n_windows * N_CTX)
    inputs, lost, drift, weights = text(n_columns, n_windows + 1)
    fit.judge(FitWindow.weighted(inputs[0], lost[0] if own else None, drift[0], weights[0]))
    for window in range(1, n_windows + 1):
        fit.add(
            FitWindow.weighted(inputs[window], lost[window] if own else None, drift[window], weights[window])
        )
    return fit


def text(n_columns: int, n_windows: int) -> tuple[NDArray[np.float32], ...]:
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(n_windows, N_CTX, n_columns)).astype(np.float32)
    own_map, drift_map = rng.normal(size=(2, n_columns, N_ROWS)).astype(np.float32)
    drift = inputs @ drift_map + rng.normal(size=(n_windows, N_CTX, N_ROWS)).astype(np.float32)
    weights = rng.uniform(0.5, 2, (n_windows, N_CTX)).astype(np.float32)
    return inputs, inputs @ own_map, drift, weights


def by_formula(
    n_columns: int, n_windows: int, ridges: tuple[float, float], *, own: bool
) -> NDArray[np.float64]:
    """Both steps in double precision, as the head of quant/prune/repair.py writes them."""
    inputs, lost, drift, weights = text(n_columns, n_windows + 1)
    roots = np.sqrt(weights[1:].reshape(-1, 1).astype(np.float64))
    h, r1, r2 = (part[1:].reshape(len(roots), -1) * roots for part in (inputs, lost, drift))
    gram = h.T @ h
    unit = np.trace(gram) / n_columns * np.eye(n_columns)
    first = np.linalg.solve(gram + ridges[0] * unit, h.T @ r1) if own else np.zeros((n_columns, N_ROWS))
    second = np.linalg.solve(gram + ridges[1] * unit, h.T @ (r2 - h @ first))
    return np.asarray((first + second).T)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("n_windows", [2, 6], ids=["fewer tokens than columns", "more"])
def test_the_change_is_that_of_the_formula(own: bool, n_windows: int):
    change, chosen = filled(24, n_windows, own=own).solve(Ridges((0.1,), (0.3,)))
    assert chosen == Ridges((0.1,), (0.3,))
    np.testing.assert_allclose(change, by_formula(24, n_windows, (0.1, 0.3), own=own), rtol=1e-3, atol=1e-4)


def test_both_forms_agree_on_everything():
    """Announced to hold more tokens than columns, it sums by columns, though the text is as short."""
    ridges = Ridges((0.1, 1, 10), (0.1, 0.3, 1, 1e3))
    by_token, by_column = filled(24, 2, own=True), filled(24, 2, own=True, n_tokens=1000)
    assert type(by_token) is not type(by_column)
    np.testing.assert_allclose(by_token.mean_squares, by_column.mean_squares, rtol=1e-5)
    change, chosen = by_token.solve(ridges)
    other_change, other_chosen = by_column.solve(ridges)
    assert chosen == other_chosen
    np.testing.assert_allclose(change, other_change, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_windows", [2, 6])
def test_the_ridges_leave_least_of_the_held_out_residuals(n_windows: int):
    """First that of the own step, by what it is to explain; then that of the drift step, by what is left of the drift."""
    inputs, lost, drift, weights = text(24, n_windows + 1)
    ridges = (1e-3, 0.3, 1e3)
    endless = (1e9,)

    def left(change: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
        return float((np.square(wanted[0] - inputs[0] @ change.T) * weights[0][:, None]).sum())

    fit = filled(24, n_windows, own=True)
    own = min(ridges, key=lambda one: left(fit.solve(Ridges((one,), endless))[0], lost))
    best = min(ridges, key=lambda one: left(fit.solve(Ridges((own,), (one,)))[0], drift))
    assert fit.solve(Ridges(ridges, ridges))[1] == Ridges((own,), (best,))


@pytest.mark.parametrize("n_windows", [2, 6])
def test_what_no_fit_explains_changes_nothing(n_windows: int):
    """The judge's residuals are the opposite of what the fit sees, so that every change makes them larger."""
    inputs, lost, drift, weights = text(24, n_windows)
    fit = ridge_fit(N_ROWS, 24, n_windows * N_CTX)
    for window in range(n_windows):
        fit.judge(FitWindow.weighted(inputs[window], -lost[window], -drift[window], weights[window]))
        fit.add(FitWindow.weighted(inputs[window], lost[window], drift[window], weights[window]))
    change, chosen = fit.solve(Ridges((0.1, NO_CHANGE, 1.0), (0.1, 1.0, NO_CHANGE)))
    assert chosen == Ridges((NO_CHANGE,), (NO_CHANGE,))
    assert not change.any()
