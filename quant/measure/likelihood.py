"""What rows of logits are worth: the likelihood of the tokens that follow, and the divergence from a dense model."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.native_context import Logits
from quant.text.windows import Tokens

SLAB_ROWS: Final = 16
"""Rows whose probabilities are in memory at once: 16 rows of 150,000 tokens are 10 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class RowScores:
    """One value for each scored token, `[n]` each."""

    nll: NDArray[np.float64]
    """Negative log-likelihood of the token that follows, in nats."""
    dense_nll: NDArray[np.float64]
    kl: NDArray[np.float64]
    """KL divergence of the model from the dense one, sum of p_dense log(p_dense / p), in nats."""
    same_top: NDArray[np.bool_]
    """Whether both models hold the same token for the most likely."""

    @classmethod
    def joined(cls, parts: "list[RowScores]") -> "RowScores":
        """Those of several stretches of rows, one after the other."""
        return cls(
            np.concatenate([part.nll for part in parts]),
            np.concatenate([part.dense_nll for part in parts]),
            np.concatenate([part.kl for part in parts]),
            np.concatenate([part.same_top for part in parts]),
        )


def nll(logits: Logits, tokens: Tokens) -> NDArray[np.float64]:
    """Negative log-likelihood of tokens under a model, in nats.

    Row i of the logits judges token i: of a window `w`, `nll(logits[:-1], w[1:])` scores each token by what stood before
    it. Logits `[[0, 0]]` and token `[1]` give `[0.693]`: minus the logarithm of one half.

    Args:
        logits: `[n, n_vocab]`.
        tokens: `[n]`.

    Returns:
        `[n]`.
    """
    values = np.empty(len(tokens))
    for start in range(0, len(tokens), SLAB_ROWS):
        rows = slice(start, start + SLAB_ROWS)
        shifted, _, sums = _exponents(logits[rows])
        values[rows] = np.log(sums) - _picked(shifted, tokens[rows])
    return values


def nll_and_kl(logits: Logits, tokens: Tokens, dense_logits: Logits) -> RowScores:
    """Scores of tokens, `[n]`, under the logits of a model and of a dense one, both `[n, n_vocab]`."""
    count = len(tokens)
    scores = RowScores(np.empty(count), np.empty(count), np.empty(count), np.empty(count, np.bool_))
    for start in range(0, count, SLAB_ROWS):
        rows = slice(start, start + SLAB_ROWS)
        shifted, _, sums = _exponents(logits[rows])
        dense_shifted, dense_weights, dense_sums = _exponents(dense_logits[rows])
        log_sums, dense_log_sums = np.log(sums), np.log(dense_sums)
        scores.nll[rows] = log_sums - _picked(shifted, tokens[rows])
        scores.dense_nll[rows] = dense_log_sums - _picked(dense_shifted, tokens[rows])
        gaps = (dense_weights * (dense_shifted - shifted)).sum(axis=1, dtype=np.float64)
        scores.kl[rows] = gaps / dense_sums - dense_log_sums + log_sums
        scores.same_top[rows] = shifted.argmax(axis=1) == dense_shifted.argmax(axis=1)
    return scores


class Divergence:
    """The KL divergence of other logits from those of a dense model, whose probabilities are kept.

    sum p log(p / q) = sum p log p - sum p z + log sum exp z, with z the other model's logits: one exponential a weight.

    Args:
        logits: The dense model's, `[n, n_vocab]`; not needed afterwards.
    """

    def __init__(self, logits: Logits) -> None:
        self._kept: list[tuple[Logits, NDArray[np.float64]]] = []
        for start in range(0, len(logits), SLAB_ROWS):
            shifted, weights, sums = _exponents(logits[start : start + SLAB_ROWS])
            entropy = (weights * shifted).sum(axis=1, dtype=np.float64) / sums - np.log(sums)
            self._kept.append((np.asarray(weights / sums[:, None].astype(np.float32)), entropy))

    def sum_of(self, logits: Logits) -> float:
        """The divergences of all rows together, in nats; the logits are of the same rows, `[n, n_vocab]`."""
        total, start = 0.0, 0
        for probabilities, entropy in self._kept:
            rows = logits[start : start + len(probabilities)]
            start += len(probabilities)
            best = rows.max(axis=1)
            log_sums = np.log(np.exp(rows - best[:, None]).sum(axis=1, dtype=np.float64)) + best
            total += float((entropy - np.einsum("ij,ij->i", probabilities, rows) + log_sums).sum())
        return total


def _exponents(logits: Logits) -> tuple[Logits, Logits, NDArray[np.float64]]:
    """Logits less the best of their row, their exponentials, both `[n, n_vocab]`, and the sums of these, `[n]`."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    return shifted, weights, weights.sum(axis=1, dtype=np.float64)


def _picked(values: Logits, tokens: Tokens) -> Logits:
    return values[np.arange(len(tokens)), tokens]
