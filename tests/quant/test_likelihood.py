"""Likelihoods and divergences against a plain computation in double precision."""

import numpy as np
import pytest
from numpy.typing import NDArray

from quant.measure.likelihood import Divergence, RowScores, nll, nll_and_kl


@pytest.fixture(scope="module")
def logits() -> NDArray[np.float32]:
    """Of a model and of a dense one, `[2, 40, 500]`."""
    return np.random.default_rng(3).normal(0, 4, (2, 40, 500)).astype(np.float32)


def exact_logs(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    return wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))


def test_two_equal_chances_are_the_logarithm_of_two():
    assert nll(np.zeros((1, 2), np.float32), np.array([1], np.int32)) == pytest.approx([np.log(2)])


def test_rows_are_scored_alike_alone_and_beside_a_dense_model(logits: NDArray[np.float32]):
    model, dense = logits
    tokens = np.random.default_rng(4).integers(0, 500, 40).astype(np.int32)
    scores = nll_and_kl(model, tokens, dense)
    assert (scores.nll == nll(model, tokens)).all()
    assert (scores.dense_nll == nll(dense, tokens)).all()
    ours, theirs = exact_logs(logits)
    assert scores.nll == pytest.approx(-ours[np.arange(40), tokens], rel=1e-5)
    assert scores.kl == pytest.approx((np.exp(theirs) * (theirs - ours)).sum(axis=1), rel=1e-4)
    assert (scores.same_top == (ours.argmax(axis=1) == theirs.argmax(axis=1))).all()


def test_a_kept_divergence_is_the_sum_of_those_of_the_rows(logits: NDArray[np.float32]):
    model, dense = logits
    ours, theirs = exact_logs(logits)
    kept = Divergence(dense)
    assert kept.sum_of(model) == pytest.approx((np.exp(theirs) * (theirs - ours)).sum(), rel=1e-4)
    assert kept.sum_of(dense) == pytest.approx(0, abs=1e-4)


def test_scores_of_two_stretches_are_those_of_all_rows(logits: NDArray[np.float32]):
    model, dense = logits
    tokens = np.arange(40, dtype=np.int32)
    whole = nll_and_kl(model, tokens, dense)
    parts = [nll_and_kl(model[rows], tokens[rows], dense[rows]) for rows in (slice(0, 25), slice(25, 40))]
    joined = RowScores.joined(parts)
    for name in ("nll", "dense_nll", "kl", "same_top"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
