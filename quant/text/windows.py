"""Windows of tokens: the pieces of text that models are run on, each evaluated on its own."""

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import UsageError
from edgespec.llama.model import Model

log = logging.getLogger(__name__)

N_CTX: Final = 512
"""Tokens in a window, where nobody says otherwise: what llama-perplexity and llama-imatrix take."""

Tokens = NDArray[np.int32]
"""Token ids: a text `[n]`, or windows `[n_windows, n_ctx]`."""


def split_windows(model: Model, text: str, *, n_ctx: int = N_CTX, n_chunks: int | None = None) -> Tokens:
    """The chunks of a text as llama-perplexity cuts them, `[n_chunks, n_ctx]` (tools/perplexity/perplexity.cpp).

    Args:
        model: Whose tokens.
        text: Control tokens written in it are read as text.
        n_ctx: Tokens in a chunk; what is left at the end is not used.
        n_chunks: At most that many; None takes all.

    Raises:
        UsageError: the text has fewer tokens than two chunks.
    """
    tokens = np.array(model.tokenize(text, parse_special=False), np.int32)
    missing = 2 * n_ctx - len(tokens)
    if missing > 0:
        raise UsageError(
            f"the text has {len(tokens)} tokens, {missing} fewer than two chunks of {n_ctx}",
            "give a longer text or a smaller context",
        )
    return whole_windows(model, tokens, n_ctx)[:n_chunks]


def spread_windows(model: Model, text: str, n_windows: int) -> Tokens:
    """Windows of a text to calibrate on, `[n_windows, N_CTX]`, spread over all of it; of a shorter text, as many as it fills.

    The first begins with the text's first token, the last ends with its last one; those between begin at equal distances.

    Raises:
        UsageError: the text does not fill a window.
    """
    tokens = np.array(model.tokenize(text, parse_special=False), np.int32)
    n_whole = len(tokens) // N_CTX
    if not n_whole:
        raise UsageError(
            f"the calibration text has {len(tokens)} tokens, and a window takes {N_CTX}", "give a longer text"
        )
    if n_whole < n_windows:
        log.warning(
            "the calibration text has %d tokens: %d windows of %d are read in place of %d",
            len(tokens),
            n_whole,
            N_CTX,
            n_windows,
        )
    starts = np.linspace(0, len(tokens) - N_CTX, min(n_whole, n_windows)).astype(int)
    return _begun(model, np.stack([tokens[start : start + N_CTX] for start in starts]))


def whole_windows(model: Model, tokens: Tokens, n_ctx: int = N_CTX) -> Tokens:
    """As many windows as `tokens` `[n]` fill, one after the other, `[n // n_ctx, n_ctx]`."""
    count = len(tokens) // n_ctx
    return _begun(model, tokens[: count * n_ctx].reshape(count, n_ctx).copy())


def short_windows(windows: Tokens, count: int, n_ctx: int) -> Tokens:
    """Short windows out of longer ones: the first piece of each, then the second of each, and so on.

    Two windows `[[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]` give, for `count` 3 and `n_ctx` 2, `[[1, 2], [6, 7], [3, 4]]`.

    Args:
        windows: `[n_windows, n_longer]`.
        count: How many are wanted; fewer come where the windows do not hold so many.
        n_ctx: Tokens in a short window.

    Returns:
        `[at most count, n_ctx]`.
    """
    n_pieces = windows.shape[1] // n_ctx
    pieces = windows[:, : n_pieces * n_ctx].reshape(len(windows), n_pieces, n_ctx)
    return pieces.swapaxes(0, 1).reshape(-1, n_ctx)[:count]


def _begun(model: Model, windows: Tokens) -> Tokens:
    """With the begin-of-text token in the first place, where the vocabulary wants one."""
    bos = model.added_bos
    if bos is not None:
        windows[:, 0] = bos
    return windows
