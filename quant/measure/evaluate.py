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
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.catalog.compatibility import check_writes_text
from edgespec.catalog.metadata import read_metadata
from edgespec.chat.messages import ChatMessage
from edgespec.chat.prompt_tokens import tokenize_chat
from edgespec.errors import UsageError
from edgespec.llama.build import ggml_kernels
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.native_context import Logits
from edgespec.progress import SILENT, Progress
from quant.measure.likelihood import RowScores, nll, nll_and_kl
from quant.text.windows import N_CTX, Tokens, split_windows

SAMPLE_PROMPT: Final = "Explain in two sentences why the sky is blue."
SAMPLE_TOKENS: Final = 48
"""Enough for a reader to see whether a model still writes sentences."""

WindowSource = Callable[[Model], Tokens]
"""Gives windows, `[n_chunks, n_ctx]`, when it is called with a model."""

_BATCH_ROWS: Final = 512
"""Rows in one evaluation: what llama.cpp computes in one pass by default (`n_ubatch` in common/common.h)."""


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean with its standard error."""

    mean: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Distance:
    """How far a model is from a dense one on the same tokens. The names of the fields are those of JSON documents."""

    dense_perplexity: float
    kl_mean: float
    """Nats a token, as the other divergences."""
    kl_se: float
    kl_p99: float
    """99 % of the tokens have a divergence of at most that."""
    top1_agreement: float
    """Share of tokens, 0 to 1, for which both models hold the same token for the most likely."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found. The names of the fields are those of JSON documents."""

    perplexity: float
    perplexity_se: float
    n_chunks: int
    n_tokens: int
    """Tokens that were scored."""
    distance: Distance | None
    """None when there was no dense model."""
    sample: str
    """What the model answers to SAMPLE_PROMPT, greedily, SAMPLE_TOKENS tokens at most."""


def evaluate(
    path: Path,
    text: str | WindowSource,
    *,
    against: Path | None = None,
    n_chunks: int | None = None,
    n_ctx: int = N_CTX,
    label: str = "measuring",
    progress: Progress = SILENT,
) -> Evaluation:
    """Measures the model at `path` on a text.

    Args:
        path: The model.
        text: At least two chunks of it, or what gives windows when it is called with the dense model (without one, with
            the model itself), such as `answered_windows`.
        against: A dense model of the same vocabulary to be compared with; both are in memory at once.
        n_chunks: At most that many chunks; None takes all.
        n_ctx: Tokens in a chunk of a text.
        label: What the stage of measuring is called.
        progress: Gets that stage, in chunks.

    Raises:
        UsageError: the text is too short, or the two models read it as different tokens.
        ModelFileError: a model writes no text, or llama.cpp cannot load it.
        NotEnoughMemoryError: a model or a context does not fit.
    """
    for each in (path, *([against] if against else [])):
        check_writes_text(each.name, read_metadata(each))
    with ExitStack() as opened:
        # ggml's kernels want the weights as ggml lays them out.
        with ggml_kernels():
            model = opened.enter_context(Model(path))
            dense = opened.enter_context(Model(against)) if against is not None else None
        if isinstance(text, str):
            windows = split_windows(model, text, n_ctx=n_ctx, n_chunks=n_chunks)
        else:
            windows = text(dense or model)[:n_chunks]
        if dense is not None:
            _check_same_tokens(model, dense, windows, text if isinstance(text, str) else None)
        progress.stage(label, len(windows))
        distance = None
        if dense is None:
            estimate = perplexity(model, windows, progress=progress)
        else:
            scores = _compare(model, dense, windows, progress)
            estimate, distance = _perplexity_of(scores.nll), _distance_of(scores)
        return Evaluation(
            perplexity=estimate.mean,
            perplexity_se=estimate.standard_error,
            n_chunks=len(windows),
            n_tokens=len(windows) * _n_scored(windows.shape[1]),
            distance=distance,
            sample=sample_text(model),
        )


def perplexity(model: Model, windows: Tokens, *, progress: Progress = SILENT) -> MeanEstimate:
    """The perplexity over chunks of `split_windows`.

    Args:
        model: What is measured.
        windows: `[n_chunks, n_ctx]` tokens.
        progress: Advanced once per chunk.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    with _open_context(model, windows.shape[1]) as context:
        values = [nll(logits[0], tokens) for logits, tokens in _batches([context], windows, progress)]
    return _perplexity_of(np.concatenate(values))


def sample_text(model: Model) -> str:
    """The model's greedy answer to SAMPLE_PROMPT, in its own chat template where it has one.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    answer = b""
    with _open_context(model, N_CTX) as context:
        context.prefill(tokenize_chat(context, [ChatMessage("user", SAMPLE_PROMPT)]))
        for _ in range(SAMPLE_TOKENS):
            token = int(context.logits()[0].argmax())
            if model.is_end(token):
                break
            answer += model.token_bytes(token)
            context.decode([token])
    return answer.decode("utf-8", "replace")


def _open_context(model: Model, n_ctx: int) -> Context:
    rows = min(n_ctx, _BATCH_ROWS)
    scored = min(rows, n_ctx - n_ctx // 2)
    return Context(model, ContextSettings(n_ctx, default_threads(), n_outputs_max=scored, n_batch=rows))


def _compare(model: Model, dense: Model, windows: Tokens, progress: Progress) -> RowScores:
    n_ctx = windows.shape[1]
    with _open_context(model, n_ctx) as context, _open_context(dense, n_ctx) as other:
        return RowScores.joined(
            [
                nll_and_kl(logits[0], tokens, logits[1])
                for logits, tokens in _batches([context, other], windows, progress)
            ]
        )


def _batches(
    contexts: Sequence[Context], windows: Tokens, progress: Progress
) -> Iterator[tuple[list[Logits], Tokens]]:
    """Runs the chunks; yields each context's logits of the scored rows, valid until the next, and what follows.

    Of a chunk of 8 tokens the rows 4, 5 and 6 are scored, by the tokens 5, 6 and 7.
    """
    for window in windows:
        for context in contexts:
            context.clear()
        yield from _batches_of_window(contexts, window)
        progress.advance()


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


def _n_scored(n_ctx: int) -> int:
    """Tokens of a chunk that are scored: those that follow a token of its second half."""
    return n_ctx - 1 - n_ctx // 2


def _mean(values: NDArray[np.float64]) -> MeanEstimate:
    mean = float(values.mean())
    return MeanEstimate(mean, math.sqrt(float(values.var()) / max(1, len(values) - 1)))


def _perplexity_of(values: NDArray[np.float64]) -> MeanEstimate:
    """Of negative log-likelihoods, `[n]`; the error of exp(m) is exp(m) times that of m, to first order."""
    log = _mean(values)
    return MeanEstimate(math.exp(log.mean), math.exp(log.mean) * log.standard_error)


def _distance_of(scores: RowScores) -> Distance:
    kl = _mean(scores.kl)
    return Distance(
        dense_perplexity=_perplexity_of(scores.dense_nll).mean,
        kl_mean=kl.mean,
        kl_se=kl.standard_error,
        kl_p99=float(np.percentile(scores.kl, 99)),
        top1_agreement=float(scores.same_top.mean()),
    )


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
