"""What the target writes, recorded once, and what drafts would have guessed: read in one pass, not decoded."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgespec.decode.batched import Chooser
from edgespec.decode.chat_template import ChatMessage, tokenize_chat
from edgespec.decode.replay import Guesses, Recording
from edgespec.files import written_whole
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.llama.sequences import SequencesContext, cache_tokens

ANSWER_TOKENS: Final = 96
_MOST_PROMPT_TOKENS: Final = 2048
_AT_ONCE: Final = 8
"""Answers written side by side: eight rows cost little more than one and a half."""
_SLAB_ROWS: Final = 16
GREEDY: Final = Sampling()

Report = Callable[[int, int], None]
Logits = NDArray[np.float32]
Mask = NDArray[np.bool_]


def record_answers(
    model: Model, conversations: Sequence[Sequence[ChatMessage]], n_threads: int, report: Report
) -> list[Recording]:
    """The target's greedy answers, up to `ANSWER_TOKENS` tokens or the end of the text.

    Args:
        model: The target.
        conversations: What each answer is to.
        n_threads: Of the CPU.
        report: Told about answers.

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    recordings: list[Recording] = []
    for start in range(0, len(conversations), _AT_ONCE):
        group = conversations[start : start + _AT_ONCE]
        recordings += _record_group(model, group, n_threads)
        report(start + len(group), len(conversations))
    return recordings


def _record_group(
    model: Model, conversations: Sequence[Sequence[ChatMessage]], n_threads: int
) -> list[Recording]:
    with Context(model, ContextSettings(_MOST_PROMPT_TOKENS, n_threads)) as context:
        tokens = [tokenize_chat(context, list(messages)) for messages in conversations]
    gaps: list[NDArray[np.float32]] = []
    said = answer_side_by_side(
        model, tokens, ANSWER_TOKENS, n_threads, see=lambda logits: gaps.append(_leads(logits))
    )
    return [
        _until_end(model, prompt, answer, [float(leads[number]) for leads in gaps])
        for number, (prompt, answer) in enumerate(zip(tokens, said, strict=True))
    ]


def answer_side_by_side(
    model: Model,
    prompts: Sequence[Sequence[int]],
    n_tokens: int,
    n_threads: int,
    sampling: Sampling = GREEDY,
    see: Callable[[Logits], None] = lambda _logits: None,
) -> list[list[int]]:
    """What follows each prompt: `n_tokens` tokens, or fewer where all texts have ended; what stands after an end is noise.

    Args:
        model: Writes.
        prompts: At least one token each.
        n_tokens: At least 1.
        n_threads: Of the CPU.
        sampling: How tokens are chosen.
        see: Gets the logits of every place, (n_prompts, n_vocab), valid until it returns.

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    count = len(prompts)
    n_ctx = cache_tokens(count, max(map(len, prompts)), n_tokens, unified=False, shared=False)
    settings = ContextSettings(n_ctx, n_threads, n_outputs_max=count, n_sequences=count, kv_unified=False)
    said: list[list[int]] = [[] for _ in prompts]
    ended = np.zeros(count, np.bool_)
    with SequencesContext(model, settings) as context, closing(Chooser(context, sampling)) as chooser:
        chooser.start(prompts)
        context.start(prompts)
        for place in range(n_tokens):
            chosen = chooser.choose()
            see(context.logits(context.n_outputs)[context.rows])
            for number, token in enumerate(chosen.tolist()):
                said[number].append(token)
                ended[number] |= model.is_end(token)
            if ended.all() or place + 1 == n_tokens:
                break
            context.step(chosen)
    return said


def _until_end(model: Model, prompt: list[int], answer: list[int], gaps: list[float]) -> Recording:
    count = count_until_end(model, answer)
    return Recording(tuple(prompt), tuple(answer[:count]), tuple(gaps[:count]))


def count_until_end(model: Model, said: Sequence[int]) -> int:
    """Tokens before the one that ends the text; all of them where none does."""
    return next((place for place, token in enumerate(said) if model.is_end(token)), len(said))


def read_guesses(
    model: Model,
    recordings: Sequence[Recording],
    listed: Sequence[Mask | None],
    n_threads: int,
    report: Report = lambda _done, _total: None,
) -> list[list[Guesses]]:
    """What a draft with the target's vocabulary guesses, for each list of tokens that it may say.

    Args:
        model: The draft.
        recordings: Of the target.
        listed: (n_vocab,) tokens that the draft may say besides those of the text before; None for all.
        n_threads: Of the CPU.
        report: Told about answers.

    Returns:
        For each list, guesses for each recording.

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    longest = max(len(one.prompt) + len(one.tokens) for one in recordings)
    most = max(len(one.tokens) for one in recordings)
    found: list[list[Guesses]] = [[] for _ in listed]
    settings = ContextSettings(longest + 1, n_threads, n_outputs_max=most, n_batch=longest)
    with Context(model, settings) as context:
        for number, one in enumerate(recordings):
            context.clear()
            context.decode([*one.prompt, *one.tokens[:-1]], outputs=len(one.tokens))
            logits = context.logits(len(one.tokens))
            for place, mask in enumerate(listed):
                found[place].append(_guess(logits, one, mask))
            report(number + 1, len(recordings))
    return found


def _guess(logits: Logits, recording: Recording, mask: Mask | None) -> Guesses:
    tokens: list[int] = []
    leads: list[float] = []
    if mask is None:
        for start in range(0, len(logits), _SLAB_ROWS):
            rows = logits[start : start + _SLAB_ROWS]
            tokens += rows.argmax(axis=1).tolist()
            leads += _leads(rows).tolist()
        return Guesses(tuple(tokens), tuple(leads))
    listed = mask.copy()
    listed[list(recording.prompt)] = True
    listed[list(recording.tokens)] = True
    ids = np.flatnonzero(listed)
    # A token of the answer is listed only from where it was said.
    first_said = {token: place for place, token in reversed(list(enumerate(recording.tokens)))}
    late = {
        token: place
        for token, place in first_said.items()
        if not mask[token] and token not in recording.prompt
    }
    columns = {token: int(np.searchsorted(ids, token)) for token in late}
    for place, row in enumerate(logits):
        said = row[ids]
        for token, first in late.items():
            if place <= first:
                said[columns[token]] = -np.inf
        best = int(said.argmax())
        top = float(said[best])
        said[best] = -np.inf
        tokens.append(int(ids[best]))
        leads.append(top - float(said.max()))
    return Guesses(tuple(tokens), tuple(leads))


def _leads(rows: Logits) -> NDArray[np.float32]:
    """Best minus second best of each row."""
    top = np.partition(rows, -2, axis=1)[:, -2:]
    leads: NDArray[np.float32] = top[:, 1] - top[:, 0]
    return leads


def save_recordings(path: Path, recordings: Sequence[Recording]) -> None:
    """Writes them as one file.

    Raises:
        OSError: it cannot be written; what was there is whole.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for number, one in enumerate(recordings):
        arrays[f"{number}.prompt"] = np.array(one.prompt, np.int32)
        arrays[f"{number}.tokens"] = np.array(one.tokens, np.int32)
        arrays[f"{number}.gaps"] = np.array(one.gaps, np.float32)
    with written_whole(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_recordings(path: Path) -> list[Recording]:
    """What `save_recordings` wrote; nothing where there is no such file or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            count = len(stored.files) // 3
            return [
                Recording(
                    tuple(stored[f"{number}.prompt"].tolist()),
                    tuple(stored[f"{number}.tokens"].tolist()),
                    tuple(stored[f"{number}.gaps"].tolist()),
                )
                for number in range(count)
            ]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return []
