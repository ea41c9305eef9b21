"""The text that statistics and repairs are computed on: a file, the model's own answers, or both.

A model's own answers are what it will write in use; they are made once for every model and kept in the cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgespec.decode.chat_template import ChatMessage
from edgespec.errors import UsageError
from edgespec.llama.model import Model
from edgespec.paths import derived_file
from quant.progress import StageProgress, stage_of
from quant.prune.choices import DEFAULT_TOKENS, OWN_ANSWERS, CalibrationSource
from quant.text.answers import answer_tokens
from quant.text.windows import N_CTX, Tokens, spread_windows, whole_windows

_PROMPTS = Path(__file__).with_name("calibration_prompts.txt")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Windows of tokens, (n, n_ctx)."""

    fit: Tokens
    held_out: Tokens
    n_texts: int = 1
    """The held-out windows are of so many texts, in turn."""


def calibration_windows(
    model: Model,
    source: Path,
    texts: Sequence[CalibrationSource],
    n_tokens: int = DEFAULT_TOKENS,
    *,
    progress: StageProgress | None = None,
) -> Tokens:
    """Windows of one text or of several in equal parts, in turn, (n_windows, N_CTX).

    Raises:
        UsageError: a file cannot be read, or has fewer tokens.
        NotEnoughMemoryError: no room for the context.
    """
    n_windows = max(2, n_tokens // len(texts) // N_CTX)
    parts = [_windows_of(model, source, text, n_windows, progress) for text in texts]
    return np.stack(parts, axis=1).reshape(-1, N_CTX)


def _windows_of(
    model: Model, source: Path, text: CalibrationSource, n_windows: int, progress: StageProgress | None
) -> Tokens:
    if text != OWN_ANSWERS:
        return spread_windows(model, read_text(Path(text)), n_windows)
    questions = [[ChatMessage("user", question)] for question in calibration_prompts()]
    report = stage_of(progress, "writing calibration text")
    store = derived_file(source, "answers.npz")
    tokens = answer_tokens(model, questions, n_windows * N_CTX, store, progress=report)
    return whole_windows(model, tokens)


def calibration_prompts() -> list[str]:
    """The built-in questions."""
    return _PROMPTS.read_text(encoding="utf-8").splitlines()


def read_text(path: Path) -> str:
    """A text file to calibrate on.

    Raises:
        UsageError: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the calibration text {path} cannot be read: {error}", "give a UTF-8 text file"
        ) from None


def split(windows: Tokens, n_texts: int = 1, every: int = 7) -> tuple[Tokens, Tokens]:
    """Windows to fit on, and some to judge by: of each text every seventh, or its last one.

    Args:
        windows: Of `n_texts` texts in turn.
        n_texts: What serves one text alone can harm another, so that each has to judge.
        every: One window in so many judges.
    """
    held_out = np.arange(len(windows)) // n_texts % every == every - 1
    if not held_out.any():
        held_out[-n_texts:] = True
    return windows[~held_out], windows[held_out]
