"""What a draft would have guessed at every place of an answer: read in one pass, not decoded."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.decode.drafters.draft_model import WINDOWS
from edgespec.decode.replay import Guesses, GuessView, Recording
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.progress import SILENT, Progress
from edgespec.tune.recordings import Logits, leads_of

_SLAB_ROWS: Final = 16
"""Rows whose logits are in the processor's cache at once."""

Mask = NDArray[np.bool_]
Guessed = tuple[tuple[int, ...], tuple[float, ...]]
"""Tokens, and how far each leads in logits."""


def read_guesses(
    model: Model,
    recordings: Sequence[Recording],
    masks: Sequence[Mask | None],
    n_threads: int,
    progress: Progress = SILENT,
) -> list[list[Guesses]]:
    """What a draft with the target's vocabulary guesses, for each list of tokens that it may say.

    It reads every text from its beginning, and from as far before the answer as a draft at work first does.

    Args:
        model: The draft.
        recordings: Of the target.
        masks: `[n_vocab]` each, tokens that the draft may say besides those of the text before; None for all.
        n_threads: Of the CPU.
        progress: Advanced once per recording.

    Returns:
        For each mask, guesses for each recording.

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    longest = max(len(one.prompt) + len(one.tokens) for one in recordings)
    n_outputs = max(len(one.tokens) for one in recordings)
    found: list[list[Guesses]] = [[] for _ in masks]
    settings = ContextSettings(longest + 1, n_threads, n_outputs_max=n_outputs, n_batch=longest)
    with Context(model, settings) as context:
        for one in recordings:
            views: list[list[GuessView]] = [[] for _ in masks]
            for begin in sorted({0, max(len(one.prompt) - WINDOWS[0], 0)}):
                context.clear()
                context.decode([*one.prompt[begin:], *one.tokens[:-1]], outputs=len(one.tokens))
                logits = context.logits(len(one.tokens))
                for own, mask in zip(views, masks, strict=True):
                    guessed = guess_all(logits) if mask is None else guess_listed(logits, one, mask)
                    own.append(GuessView(begin, 0, *guessed))
            for guesses, own in zip(found, views, strict=True):
                guesses.append(Guesses(tuple(own)))
            progress.advance()
    return found


def guess_all(logits: Logits) -> Guessed:
    """The likeliest tokens, `[n_tokens, n_vocab]` logits given, and how far each leads."""
    tokens: list[int] = []
    leads: list[float] = []
    for start in range(0, len(logits), _SLAB_ROWS):
        rows = logits[start : start + _SLAB_ROWS]
        tokens += rows.argmax(axis=1).tolist()
        leads += leads_of(rows).tolist()
    return tuple(tokens), tuple(leads)


def guess_listed(logits: Logits, recording: Recording, mask: Mask) -> Guessed:
    """The likeliest of the tokens that are listed or stand in the text before.

    With tokens 0 and 1 listed, a prompt of 2 and the answer 3 3, the draft may say 0, 1 and 2 in the first place of
    the answer, and in the second place 3 too.

    Args:
        logits: At every place of the answer, `[n_tokens, n_vocab]`.
        recording: The answer, of `n_tokens` tokens.
        mask: The listed tokens, `[n_vocab]`.
    """
    allowed = mask.copy()
    allowed[list(recording.prompt)] = True
    said_before = allowed.copy()
    allowed[list(recording.tokens)] = True
    ids = np.flatnonzero(allowed)
    # A token of the answer alone is allowed only behind the place where it is said first.
    first_said = {token: place for place, token in reversed(list(enumerate(recording.tokens)))}
    late = {token: place for token, place in first_said.items() if not said_before[token]}
    columns = {token: int(np.searchsorted(ids, token)) for token in late}
    tokens: list[int] = []
    leads: list[float] = []
    for place, row in enumerate(logits):
        values = row[ids]
        for token, first in late.items():
            if place <= first:
                values[columns[token]] = -np.inf
        best = int(values.argmax())
        top = float(values[best])
        values[best] = -np.inf
        tokens.append(int(ids[best]))
        leads.append(top - float(values.max()))
    return tuple(tokens), tuple(leads)
