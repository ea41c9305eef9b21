"""The text that statistics and repairs are computed on: a file, the model's own answers, or both.

A model's own answers are what it will write in use; they are made once for every model and kept in the cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgespec.chat.messages import ChatMessage
from edgespec.errors import UsageError
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.paths import derived_file
from edgespec.progress import SILENT, Progress
from quant.text.answers import answer_tokens, count_answered
from quant.text.calibration_source import DEFAULT_TOKENS, OWN_ANSWERS, CalibrationSource
from quant.text.windows import N_CTX, Tokens, spread_windows, whole_windows

_PROMPTS: Final = Path(__file__).with_name("calibration_prompts.txt")
_ANSWERS: Final = "answers.npz"
"""How the name of the file ends that keeps a model's answers."""
_HELD_OUT_ONE_IN: Final = 7
"""Windows: of the 32 that are read by default four judge, and 28 are left to fit on."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Windows of tokens to fit on, and others to judge by."""

    fit: Tokens
    """`[n_windows, n_ctx]`."""
    held_out: Tokens
    """`[n_windows, n_ctx]`; of `n_texts` texts in turn."""
    n_texts: int = 1

    @classmethod
    def empty(cls) -> "Calibration":
        """Of a run that reads no text."""
        nothing = np.zeros((0, 0), np.int32)
        return cls(nothing, nothing)


def read_calibration(
    path: Path, texts: Sequence[CalibrationSource], n_tokens: int, *, progress: Progress = SILENT
) -> Calibration:
    """The texts as the model at `path` reads them, in windows of N_CTX tokens.

    Args:
        path: The model, which also writes the answers.
        texts: What is read, in equal parts.
        n_tokens: Of all texts together.
        progress: Gets a stage where answers have to be written.

    Raises:
        UsageError: a file cannot be read, or does not fill two windows.
        NotEnoughMemoryError: the model or a context does not fit.
        ModelFileError: llama.cpp cannot load the model.
    """
    with Model(path, Placement()) as model:
        windows = calibration_windows(model, path, texts, n_tokens, progress=progress)
    if len(windows) < 2 * len(texts):
        raise UsageError(
            f"a calibration text fills one window of {N_CTX} tokens, and two are needed: one to fit on, one to judge by",
            "give a longer text",
        )
    return split_calibration(windows, len(texts))


def calibration_windows(
    model: Model,
    source: Path,
    texts: Sequence[CalibrationSource],
    n_tokens: int = DEFAULT_TOKENS,
    *,
    progress: Progress = SILENT,
) -> Tokens:
    """Windows of one text or of several in equal parts, `[n_windows, N_CTX]`.

    Two texts take turns: window 0 is of the first, window 1 of the second, window 2 of the first again.

    Args:
        model: Whose tokens; it writes the answers.
        source: Its file, whose name the kept answers bear.
        texts: What is read.
        n_tokens: Of all texts together; of each two windows are wanted at least. Where a text is too short for its part, all
            give as many as it does.
        progress: Gets a stage where answers have to be written.

    Raises:
        UsageError: a file cannot be read, or does not fill a window.
        NotEnoughMemoryError: the context does not fit.
    """
    n_windows = max(2, n_tokens // len(texts) // N_CTX)
    parts = [_windows_of(model, source, text, n_windows, progress) for text in texts]
    shortest = min(map(len, parts))
    return np.stack([part[:shortest] for part in parts], axis=1).reshape(-1, N_CTX)


def _windows_of(
    model: Model, source: Path, text: CalibrationSource, n_windows: int, progress: Progress
) -> Tokens:
    if text != OWN_ANSWERS:
        return spread_windows(model, read_text(Path(text)), n_windows)
    store, n_tokens = derived_file(source, _ANSWERS), n_windows * N_CTX
    return whole_windows(model, answer_tokens(model, _own_questions(), n_tokens, store, progress=progress))


def missing_answers(source: Path, n_tokens: int) -> int:
    """Tokens of its own answers that a model has still to write before `n_tokens` can be read in windows."""
    wanted = max(2, n_tokens // N_CTX) * N_CTX
    return max(0, wanted - count_answered(_own_questions(), derived_file(source, _ANSWERS)))


def _own_questions() -> list[list[ChatMessage]]:
    return [[ChatMessage("user", question)] for question in calibration_prompts()]


def calibration_prompts() -> list[str]:
    """The built-in questions."""
    return _PROMPTS.read_text(encoding="utf-8").splitlines()


def read_text(path: Path) -> str:
    """A text file to calibrate on.

    Raises:
        UsageError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the calibration text {path} cannot be read: {error}", "give a UTF-8 text file"
        ) from None


def split_calibration(windows: Tokens, n_texts: int = 1) -> Calibration:
    """Windows to fit on, and some to judge by: of each text every seventh, or its last one.

    What serves one text alone can harm another, so that each has to judge. Of 14 windows of two texts, `A0 B0 A1 B1 ...
    A6 B6`, A6 and B6 judge.

    Args:
        windows: `[n_windows, n_ctx]`, of `n_texts` texts in turn.
        n_texts: How many take turns.
    """
    held_out = np.arange(len(windows)) // n_texts % _HELD_OUT_ONE_IN == _HELD_OUT_ONE_IN - 1
    if not held_out.any():
        held_out[-n_texts:] = True
    return Calibration(windows[~held_out], windows[held_out], n_texts)
