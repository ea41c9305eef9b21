"""How good a model is: perplexity as llama-perplexity has it, distance to a dense model, a sample of its text.

The figures follow llama.cpp's tools/perplexity/perplexity.cpp: the text is cut into chunks of `n_ctx` tokens, each
evaluated on its own and begun with the begin-of-text token where the vocabulary wants one; the tokens of the second
half of each chunk are scored. A dense model runs beside the other one, chunk by chunk, so that no logits are stored:
its probabilities are exact, where llama-perplexity keeps them in a file with 16 bits each.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgespec.decode.chat_template import ChatMessage, tokenize_chat
from edgespec.errors import UsageError
from edgespec.llama.build import ggml_kernels
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.native_context import Logits
from quant.progress import ChunkProgress
from quant.text.windows import N_CTX, Tokens, split_windows

SAMPLE_PROMPT = "Explain in two sentences why the sky is blue."
SAMPLE_TOKENS = 48

WindowSource = Callable[[Model], Tokens]

_BATCH_ROWS = 512
_SLAB_ROWS = 16
"""Rows whose probabilities are in memory at once: 16 rows of 150 000 tokens are 10 MB."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error."""

    mean: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class RowScores:
    """One value for each scored token."""

    nll: NDArray[np.float64]
    """Negative log-likelihood of the token that follows, in nats."""
    dense_nll: NDArray[np.float64]
    kl: NDArray[np.float64]
    """KL divergence of the model from the dense one, sum of p_dense log(p_dense / p), in nats."""
    same_top: NDArray[np.bool_]
    """Whether both models hold the same token for the most likely."""


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a model is from a dense one on the same tokens."""

    dense_perplexity: float
    kl_mean: float
    kl_se: float
    kl_p99: float
    """99 % of the tokens have a divergence of at most that."""
    top1_agreement: float
    """Share of tokens, 0 to 1, for which both models hold the same token for the most likely."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What `evaluate` found."""

    perplexity: float
    perplexity_se: float
    n_chunks: int
    n_tokens: int
    """Tokens that were scored."""
    distance: Distance | None
    """None when there was no dense model."""
    sample: str
    """What the model answers to SAMPLE_PROMPT, greedily, SAMPLE_TOKENS tokens at most."""


def nll(logits: Logits, tokens: Tokens) -> NDArray[np.float64]:
    """Negative log-likelihood in nats of `tokens` (n,) under `logits` (n, n_vocab); the result has shape (n,)."""
    values = np.empty(len(tokens))
    for start in range(0, len(tokens), _SLAB_ROWS):
        rows = slice(start, start + _SLAB_ROWS)
        shifted, _, sums = _exponents(logits[rows])
        values[rows] = np.log(sums) - _picked(shifted, tokens[rows])
    return values


def nll_and_kl(logits: Logits, tokens: Tokens, dense_logits: Logits) -> RowScores:
    """Scores of `tokens` (n,) under the logits of a model and of a dense one, both (n, n_vocab)."""
    count = len(tokens)
    scores = RowScores(np.empty(count), np.empty(count), np.empty(count), np.empty(count, np.bool_))
    for start in range(0, count, _SLAB_ROWS):
        rows = slice(start, start + _SLAB_ROWS)
        shifted, _, sums = _exponents(logits[rows])
        dense_shifted, dense_weights, dense_sums = _exponents(dense_logits[rows])
        log_sums, dense_log_sums = np.log(sums), np.log(dense_sums)
        scores.nll[rows] = log_sums - _picked(shifted, tokens[rows])
        scores.dense_nll[rows] = dense_log_sums - _picked(dense_shifted, tokens[rows])
        gaps = (dense_weights * (dense_shifted - shifted)).sum(axis=1, dtype=np.float64)
        scores.kl[rows] = gaps / dense_sums - dense_log_sums + log_sums
        scores.same_top[rows] = shifted.argmax(axis=1) == dense_shifted.argmax(axis=1)
    return scores


def perplexity(
    model: Model, windows: Tokens, *, n_threads: int | None = None, progress: ChunkProgress | None = None
) -> Estimate:
    """The perplexity over chunks of `split_windows`, (n_chunks, n_ctx).

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    with _open_context(model, windows.shape[1], n_threads) as context:
        values = [nll(logits[0], tokens) for logits, tokens in _batches([context], windows, progress)]
    return _perplexity_of(np.concatenate(values))


def evaluate(
    path: Path,
    text: str | WindowSource,
    *,
    against: Path | None = None,
    n_chunks: int | None = None,
    n_ctx: int = N_CTX,
    n_threads: int | None = None,
    progress: ChunkProgress | None = None,
) -> Quality:
    """Measures the model at `path` on a text.

    Args:
        path: The model.
        text: At least two chunks of it, or what gives windows of tokens, (n_chunks, n_ctx), when it is called with the
            dense model (without one, with the model itself), such as `answered_windows`.
        against: A dense model of the same vocabulary to be compared with; both are in memory at once.
        n_chunks: At most that many chunks; None takes all.
        n_ctx: Tokens in a chunk of a text.
        n_threads: None takes the physical cores.
        progress: Told after every chunk.

    Raises:
        UsageError: the text is too short, or the two models read it as different tokens.
        ModelFileError: llama.cpp cannot load a model.
        NotEnoughMemoryError: no room for a model or a context.
    """
    with ExitStack() as stack:
        model = stack.enter_context(Model(path))
        if isinstance(text, str):
            windows = split_windows(model, text, n_ctx=n_ctx, n_chunks=n_chunks)
        dense = stack.enter_context(Model(against)) if against is not None else None
        if not isinstance(text, str):
            windows = text(dense or model)[:n_chunks]
        distance = None
        if dense is None:
            estimate = perplexity(model, windows, n_threads=n_threads, progress=progress)
        else:
            _check_same_tokens(model, dense, windows, text if isinstance(text, str) else None)
            scores = _compare(model, dense, windows, n_threads, progress)
            estimate, distance = _perplexity_of(scores.nll), _distance_of(scores)
        return Quality(
            perplexity=estimate.mean,
            perplexity_se=estimate.standard_error,
            n_chunks=len(windows),
            n_tokens=len(windows) * _n_scored(windows.shape[1]),
            distance=distance,
            sample=sample_text(model, n_threads=n_threads),
        )


def sample_text(model: Model, *, n_threads: int | None = None) -> str:
    """The model's greedy answer to SAMPLE_PROMPT, in its own chat template where it has one."""
    answer = b""
    with _open_context(model, N_CTX, n_threads) as context:
        context.prefill(tokenize_chat(context, [ChatMessage("user", SAMPLE_PROMPT)]))
        for _ in range(SAMPLE_TOKENS):
            token = int(context.logits()[0].argmax())
            if model.is_end(token):
                break
            answer += model.token_bytes(token)
            context.decode([token])
    return answer.decode("utf-8", "replace")


def _open_context(model: Model, n_ctx: int, n_threads: int | None) -> Context:
    rows = min(n_ctx, _BATCH_ROWS)
    scored = min(rows, n_ctx - n_ctx // 2)
    threads = n_threads or default_threads()
    return Context(model, ContextSettings(n_ctx, threads, n_outputs_max=scored, n_batch=rows))


def _compare(
    model: Model, dense: Model, windows: Tokens, n_threads: int | None, progress: ChunkProgress | None
) -> RowScores:
    n_ctx = windows.shape[1]
    with _open_context(model, n_ctx, n_threads) as context, _open_context(dense, n_ctx, n_threads) as other:
        parts = [
            nll_and_kl(logits[0], tokens, logits[1])
            for logits, tokens in _batches([context, other], windows, progress)
        ]
    return RowScores(
        np.concatenate([part.nll for part in parts]),
        np.concatenate([part.dense_nll for part in parts]),
        np.concatenate([part.kl for part in parts]),
        np.concatenate([part.same_top for part in parts]),
    )


def _batches(
    contexts: Sequence[Context], windows: Tokens, progress: ChunkProgress | None
) -> Iterator[tuple[list[Logits], Tokens]]:
    """Runs the chunks; yields each context's logits of the scored rows, valid until the next, and what follows."""
    for done, window in enumerate(windows, 1):
        for context in contexts:
            context.clear()
        yield from _batches_of_window(contexts, window)
        if progress is not None:
            progress(done, len(windows))


def _batches_of_window(contexts: Sequence[Context], window: Tokens) -> Iterator[tuple[list[Logits], Tokens]]:
    n_ctx, step = len(window), contexts[0].settings.n_batch
    for start in range(0, n_ctx, step):
        batch = window[start : start + step].tolist()
        first = max(start, n_ctx // 2)
        outputs = start + len(batch) - first
        with ggml_kernels():
            for context in contexts:
                context.decode(batch, outputs=max(1, outputs))
        # What follows the last token of a chunk is not part of it.
        n_scored = min(outputs, n_ctx - 1 - first)
        if n_scored > 0:
            logits = [context.logits(outputs)[:n_scored] for context in contexts]
            yield logits, window[first + 1 : first + 1 + n_scored]


def _exponents(logits: Logits) -> tuple[Logits, Logits, NDArray[np.float64]]:
    """Logits less the best of their row, their exponentials, and the sums of these, (n,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    return shifted, weights, weights.sum(axis=1, dtype=np.float64)


def _picked(values: Logits, tokens: Tokens) -> Logits:
    return values[np.arange(len(tokens)), tokens]


def _mean(values: NDArray[np.float64]) -> Estimate:
    mean = float(values.mean())
    return Estimate(mean, math.sqrt(float(values.var()) / max(1, len(values) - 1)))


def _perplexity_of(values: NDArray[np.float64]) -> Estimate:
    log = _mean(values)
    return Estimate(math.exp(log.mean), math.exp(log.mean) * log.standard_error)


def _distance_of(scores: RowScores) -> Distance:
    kl = _mean(scores.kl)
    return Distance(
        dense_perplexity=_perplexity_of(scores.dense_nll).mean,
        kl_mean=kl.mean,
        kl_se=kl.standard_error,
        kl_p99=float(np.percentile(scores.kl, 99)),
        top1_agreement=float(scores.same_top.mean()),
    )


def _n_scored(n_ctx: int) -> int:
    """Tokens of a chunk that are scored: those that follow a token of its second half."""
    return n_ctx - 1 - n_ctx // 2


def _check_same_tokens(model: Model, dense: Model, windows: Tokens, text: str | None) -> None:
    """Both must read the text as these windows; of windows without a text, every token must mean the same to both."""
    same = model.n_vocab == dense.n_vocab
    if same and text is not None:
        n_chunks, n_ctx = windows.shape
        same = np.array_equal(windows, split_windows(dense, text, n_ctx=n_ctx, n_chunks=n_chunks))
    elif same:
        tokens = np.unique(windows).tolist()
        same = all(
            model.token_bytes(token, special=True) == dense.token_bytes(token, special=True)
            for token in tokens
        )
    if not same:
        raise UsageError(
            f"{model.path.name} and {dense.path.name} do not read the text as the same tokens",
            "compare a model with the one that it was made from",
        )
