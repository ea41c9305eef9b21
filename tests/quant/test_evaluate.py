"""Perplexity and divergence against a plain computation in double precision from the same logits."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.errors import UsageError
from edgespec.llama.build import native_kernels
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.quantizer import QuantizeSettings, quantize_file
from quant.measure import evaluate as evaluate_module
from quant.measure.evaluate import evaluate, perplexity, sample_text
from quant.text.windows import split_windows
from tests.recorded_progress import RecordedProgress, Stage
from tests.tiny import TinyShape, make_tiny_model

TEXT = "the rain in the land of the hen and the ant is on the tree; " * 12
N_CTX = 64


def log_probabilities(model: Model, windows: NDArray[np.int32]) -> NDArray[np.float64]:
    """Of every token after every position, (n_chunks, n_ctx, n_vocab), one token at a time."""
    n_ctx = windows.shape[1]
    table = np.empty((*windows.shape, model.n_vocab))
    with Context(model, ContextSettings(n_ctx, 1)) as context:
        for chunk, window in enumerate(windows):
            context.clear()
            for place in range(n_ctx):
                context.decode([int(window[place])])
                row = context.logits()[0].astype(np.float64)
                table[chunk, place] = row - row.max() - np.log(np.exp(row - row.max()).sum())
    return table


def plain_nll(table: NDArray[np.float64], windows: NDArray[np.int32]) -> NDArray[np.float64]:
    n_ctx = windows.shape[1]
    return np.array(
        [
            -table[chunk, place, windows[chunk, place + 1]]
            for chunk in range(len(windows))
            for place in range(n_ctx // 2, n_ctx - 1)
        ]
    )


@pytest.mark.parametrize("n_ctx", [64, 33])
@pytest.mark.parametrize("batch_rows", [512, 24])
def test_perplexity_is_that_of_the_second_halves(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, n_ctx: int, batch_rows: int
):
    monkeypatch.setattr(evaluate_module, "_BATCH_ROWS", batch_rows)
    with Model(tiny_model) as model:
        windows = split_windows(model, TEXT, n_ctx=n_ctx, n_chunks=3)
        expected = plain_nll(log_probabilities(model, windows), windows)
        estimate = perplexity(model, windows)
    assert len(expected) == 3 * (n_ctx - 1 - n_ctx // 2)
    assert estimate.mean == pytest.approx(np.exp(expected.mean()), rel=1e-3)
    error = np.exp(expected.mean()) * expected.std() / np.sqrt(len(expected) - 1)
    assert estimate.standard_error == pytest.approx(error, rel=1e-2)


def test_distance_is_that_of_the_probabilities(tiny_model: Path, tiny_draft: Path):
    quality = evaluate(tiny_draft, TEXT, against=tiny_model, n_ctx=N_CTX, n_chunks=2)
    with Model(tiny_draft) as model, Model(tiny_model) as dense:
        windows = split_windows(model, TEXT, n_ctx=N_CTX, n_chunks=2)
        rows = slice(N_CTX // 2, N_CTX - 1)
        table = log_probabilities(model, windows)
        dense_table = log_probabilities(dense, windows)
        alone = perplexity(model, windows)
        dense_alone = perplexity(dense, windows)
    ours, theirs = table[:, rows], dense_table[:, rows]
    kl = (np.exp(theirs) * (theirs - ours)).sum(axis=-1).ravel()
    found = quality.distance
    assert found is not None
    assert (quality.n_chunks, quality.n_tokens) == (2, kl.size)
    assert found.kl_mean == pytest.approx(kl.mean(), rel=1e-2)
    assert found.kl_mean > 0
    assert found.kl_se == pytest.approx(kl.std() / np.sqrt(kl.size - 1), rel=1e-2)
    assert found.kl_p99 == pytest.approx(np.percentile(kl, 99), rel=1e-2)
    agreement = (ours.argmax(axis=-1) == theirs.argmax(axis=-1)).mean()
    # A tie may fall either way: one token of all.
    assert found.top1_agreement == pytest.approx(agreement, abs=1.5 / kl.size)
    assert found.top1_agreement < 1
    assert (quality.perplexity, quality.perplexity_se) == (alone.mean, alone.standard_error)
    assert found.dense_perplexity == dense_alone.mean


def test_a_model_against_itself_has_no_distance(tiny_model: Path):
    quality = evaluate(tiny_model, TEXT, against=tiny_model, n_ctx=N_CTX, n_chunks=2)
    assert quality.distance is not None
    assert (quality.distance.kl_mean, quality.distance.kl_se, quality.distance.kl_p99) == (0, 0, 0)
    assert quality.distance.top1_agreement == 1
    assert quality.distance.dense_perplexity == quality.perplexity


def test_models_with_different_tokens_are_not_compared(tiny_model: Path, tiny_bpe: Path):
    with pytest.raises(UsageError, match=r"tiny\.gguf and tiny-bpe\.gguf do not read the text"):
        evaluate(tiny_model, TEXT, against=tiny_bpe, n_ctx=N_CTX)


def test_progress_counts_the_chunks(tiny_model: Path):
    told = RecordedProgress()
    evaluate(tiny_model, TEXT, n_ctx=N_CTX, n_chunks=3, progress=told)
    assert told.stages == [Stage("measuring", 3, "steps", 3)]


def test_the_sample_is_the_greedy_answer(tiny_model: Path):
    from edgespec.session import open_pair

    with Model(tiny_model) as model:
        sample = sample_text(model)
    with open_pair(tiny_model, "none") as session:
        stream = session.stream(evaluate_module.SAMPLE_PROMPT, max_tokens=evaluate_module.SAMPLE_TOKENS)
        answer = "".join(token.text for token in stream)
    assert sample == answer
    assert sample


_PRINT = "import sys; from tests.quant.test_evaluate import perplexity_of; print(perplexity_of(sys.argv[1]))"


def perplexity_of(path: str) -> str:
    return repr(evaluate(Path(path), TEXT, n_ctx=N_CTX, n_chunks=3).perplexity)


def test_the_figures_are_those_of_ggmls_own_kernels(tmp_path: Path):
    """Ours add in another order, and a fourth digit would differ from what llama-perplexity says."""
    dense = make_tiny_model(tmp_path / "dense.gguf", shape=TinyShape(embedding=256, feed_forward=512))
    file = tmp_path / "q4_k.gguf"
    quantize_file(dense, file, QuantizeSettings("Q4_K_S", "Q4_K", "Q6_K", pure=True), n_threads=1)
    ggmls = subprocess.run(
        [sys.executable, "-c", _PRINT, str(file)],
        env={**os.environ, "EDGESPEC_KERNELS": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(perplexity_of(str(file))) == pytest.approx(float(ggmls.stdout), rel=1e-8)
    assert native_kernels().isa or not native_kernels().version, "they are at work again"
