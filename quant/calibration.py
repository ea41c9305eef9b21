"""The text that statistics and repairs are computed on: a file, the model's own answers, or both.

A model's own answers are what it will write in use; they are made once for every model and kept in the cache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgespec.decode.chat_template import ChatMessage, tokenize_chat
from edgespec.errors import UsageError
from edgespec.files import written_whole
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampler, Sampling
from edgespec.paths import derived_file
from quant.choices import DEFAULT_TOKENS, OWN_ANSWERS, CalibrationSource
from quant.evaluate import Tokens
from quant.progress import ChunkProgress, StageProgress, stage_of

WINDOW_TOKENS: Final = 512

_PROMPTS = Path(__file__).with_name("calibration_prompts.txt")
_ANSWER_TOKENS = 384
_SAMPLING = Sampling(temperature=0.8, seed=1)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Windows of tokens, (n, n_ctx)."""

    fit: Tokens
    held_out: Tokens


def read_windows(model: Model, text: str, n_tokens: int, n_ctx: int = WINDOW_TOKENS) -> Tokens:
    """Windows of a text, (n_windows, n_ctx), spread over all of it; each begins with the begin-of-text token.

    Raises:
        UsageError: the text has fewer tokens.
    """
    tokens = model.tokenize(text, parse_special=False)
    n_windows = max(2, n_tokens // n_ctx)
    missing = n_windows * n_ctx - len(tokens)
    if missing > 0:
        raise UsageError(
            f"the calibration text has {len(tokens)} tokens, {missing} fewer than are needed",
            "give a longer text, or ask for fewer tokens with --calibration-tokens",
        )
    return _cut(model, np.array(tokens, dtype=np.int32), n_windows, n_ctx)


def answered_windows(
    model: Model,
    source: Path,
    n_tokens: int,
    n_ctx: int = WINDOW_TOKENS,
    *,
    n_threads: int | None = None,
    progress: ChunkProgress | None = None,
) -> Tokens:
    """Windows of the model's own answers to the built-in prompts, (n_windows, n_ctx).

    Args:
        model: Answers.
        source: The file that the answers are kept for.
        n_tokens: How many are wanted; what the cache lacks is written now, and kept after an interruption.
        n_ctx: Tokens in a window.
        n_threads: None takes the physical cores.
        progress: Told about tokens.

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    n_windows = max(2, n_tokens // n_ctx)
    n_wanted = n_windows * n_ctx
    store = derived_file(source, "answers.npy")
    known = np.load(store) if store.is_file() else np.zeros(0, np.int32)
    parts, count = [known], len(known)
    answers = _answers(model, n_threads, skip_tokens=len(known))
    try:
        while count < n_wanted and (answer := next(answers, None)) is not None:
            parts.append(answer)
            count += len(answer)
            if progress is not None:
                progress(min(count, n_wanted), n_wanted)
    finally:
        if count > len(known):
            _store(store, np.concatenate(parts))
    return _cut(model, np.concatenate(parts), n_windows, n_ctx)


def calibration_windows(
    model: Model,
    source: Path,
    texts: Sequence[CalibrationSource],
    n_tokens: int = DEFAULT_TOKENS,
    *,
    progress: StageProgress | None = None,
) -> Tokens:
    """Windows of one text or of several in equal parts, in turn, (n_windows, WINDOW_TOKENS).

    Raises:
        UsageError: a file cannot be read, or has fewer tokens.
        NotEnoughMemoryError: no room for the context.
    """
    share = n_tokens // len(texts)
    parts = [_windows_of(model, source, text, share, progress) for text in texts]
    return np.stack(parts, axis=1).reshape(-1, WINDOW_TOKENS)


def _windows_of(
    model: Model, source: Path, text: CalibrationSource, n_tokens: int, progress: StageProgress | None
) -> Tokens:
    if text == OWN_ANSWERS:
        report = stage_of(progress, "writing calibration text")
        return answered_windows(model, source, n_tokens, progress=report)
    return read_windows(model, read_text(Path(text)), n_tokens)


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


def split(windows: Tokens, every: int = 7) -> tuple[Tokens, Tokens]:
    """Windows to fit on, and every seventh, at least one, to judge by."""
    held_out = np.arange(len(windows)) % every == every - 1
    if not held_out.any():
        held_out[-1] = True
    return windows[~held_out], windows[held_out]


def _answers(model: Model, n_threads: int | None, skip_tokens: int) -> Iterator[Tokens]:
    """Prompt and answer, as tokens, again and again with other seeds; what the cache has already is left out."""
    prompts = calibration_prompts()
    settings = ContextSettings(_ANSWER_TOKENS + 256, n_threads or default_threads())
    first = skip_tokens // (_ANSWER_TOKENS // 2)
    with Context(model, settings) as context:
        for number in range(first, first + 100 * len(prompts)):
            sampling = Sampling(temperature=_SAMPLING.temperature, seed=_SAMPLING.seed + number)
            with Sampler(sampling, model.n_vocab) as sampler:
                yield _answer(context, sampler, prompts[number % len(prompts)])


def _answer(context: Context, sampler: Sampler, question: str) -> Tokens:
    context.clear()
    prompt = tokenize_chat(context, [ChatMessage("user", question)])
    sampler.start(prompt)
    context.prefill(prompt)
    while len(context.tokens) < len(prompt) + _ANSWER_TOKENS:
        token = sampler.sample(context, 0)
        if context.model.is_end(token):
            break
        context.decode([token])
    return np.array(context.tokens, dtype=np.int32)


def _cut(model: Model, tokens: Tokens, n_windows: int, n_ctx: int) -> Tokens:
    starts = np.linspace(0, len(tokens) - n_ctx, n_windows).astype(int)
    windows = np.stack([tokens[start : start + n_ctx] for start in starts])
    bos = model.added_bos
    if bos is not None:
        windows[:, 0] = bos
    return windows


def _store(path: Path, tokens: Tokens) -> None:
    with written_whole(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, tokens)
