"""What a model writes, several texts in one batch; a target's greedy answers are recorded and kept in a file."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgespec.chat.prompt_tokens import tokenize_messages
from edgespec.decode.batched import Chooser
from edgespec.decode.replay import Recording
from edgespec.files import written_whole
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.llama.sequences import SequencesContext, cache_tokens
from edgespec.progress import SILENT, Progress
from quant.text.answers import Question, digest_of

ANSWER_TOKENS: Final = 96
_BATCH: Final = 8
"""Answers written together: eight rows cost little more than one and a half."""
_CACHE_TOKENS: Final = 4096
"""Of all answers of a batch: eight to usual prompts, three to the longest built-in ones. Bounds the memory."""
_GREEDY: Final = Sampling()

_QUESTIONS: Final = "questions"
"""Name of what a file says of its questions."""

Logits = NDArray[np.float32]


def record_answers(
    model: Model,
    questions: Sequence[Question],
    n_threads: int,
    progress: Progress = SILENT,
    n_tokens: int | None = None,
) -> list[Recording]:
    """The target's greedy answers, up to a number of tokens or the end of the text.

    Args:
        model: The target.
        questions: What each answer is to, however long.
        n_threads: Of the CPU.
        progress: Advanced once per answer.
        n_tokens: The longest answer, at least 1; None for `ANSWER_TOKENS`.

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    longest = n_tokens or ANSWER_TOKENS
    prompts = [tokenize_messages(model, question) for question in questions]
    answers: dict[int, list[int]] = {}
    for batch in batches_of([len(prompt) for prompt in prompts], longest):
        written = write_batch(model, [prompts[place] for place in batch], longest, n_threads)
        answers.update(zip(batch, written, strict=True))
        progress.advance(len(batch))
    return [
        Recording(tuple(prompt), tuple(answers[place][: count_until_end(model, answers[place])]))
        for place, prompt in enumerate(prompts)
    ]


def batches_of(lengths: Sequence[int], n_tokens: int = ANSWER_TOKENS) -> list[list[int]]:
    """Which prompts are answered together: those of like length, as many as share a cache of bounded size.

    Prompts of 30, 5000, 20 and 5100 tokens: places 2 and 0, then 1, then 3.

    Args:
        lengths: Tokens of each prompt, one prompt at least.
        n_tokens: Of the longest answer.

    Returns:
        Their places, the shortest prompts first.
    """
    batches: list[list[int]] = [[]]
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        count = len(batches[-1]) + 1
        cache = cache_tokens(count, lengths[place], n_tokens, unified=False, shared=False)
        if count > 1 and (count > _BATCH or cache > _CACHE_TOKENS):
            batches.append([])
        batches[-1].append(place)
    return batches


def write_batch(
    model: Model,
    prompts: Sequence[Sequence[int]],
    n_tokens: int,
    n_threads: int,
    sampling: Sampling = _GREEDY,
    see: Callable[[Logits], None] = lambda _logits: None,
) -> list[list[int]]:
    """What follows each prompt: `n_tokens` tokens, or fewer where all texts have ended.

    All texts have the same length; what stands in one after the token that ends it is noise.

    Args:
        model: Writes.
        prompts: At least one token each.
        n_tokens: At least 1.
        n_threads: Of the CPU.
        sampling: How tokens are chosen; each text has a seed of its own, `sampling.seed` and the numbers after it.
        see: Gets the logits of every place, `[n_prompts, n_vocab]`, valid until it returns.

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    count = len(prompts)
    n_ctx = cache_tokens(count, max(map(len, prompts)), n_tokens, unified=False, shared=False)
    settings = ContextSettings(n_ctx, n_threads, n_outputs_max=count, n_sequences=count, kv_unified=False)
    texts: list[list[int]] = [[] for _ in prompts]
    ended = np.zeros(count, np.bool_)
    with SequencesContext(model, settings) as context, closing(Chooser(context, sampling)) as chooser:
        chooser.start(prompts)
        context.start(prompts)
        for place in range(n_tokens):
            chosen = chooser.choose()
            see(context.logits(context.n_outputs)[context.rows])
            for number, token in enumerate(chosen.tolist()):
                texts[number].append(token)
                ended[number] |= model.is_end(token)
            if ended.all() or place + 1 == n_tokens:
                break
            context.step(chosen)
    return texts


def count_until_end(model: Model, text: Sequence[int]) -> int:
    """Tokens before the one that ends the text; all of them where none does."""
    return next((place for place, token in enumerate(text) if model.is_end(token)), len(text))


def leads_of(logits: Logits) -> Logits:
    """Best minus second best of each row: `[n_rows, n_vocab]` to `[n_rows]`.

    >>> leads_of(np.array([[1.0, 5.0, 2.0], [0.5, 0.0, 0.25]], np.float32))
    array([3.  , 0.25], dtype=float32)
    """
    top = np.partition(logits, -2, axis=1)[:, -2:]
    leads: Logits = top[:, 1] - top[:, 0]
    return leads


def save_recordings(path: Path, questions: Sequence[Question], recordings: Sequence[Recording]) -> None:
    """Writes the recorded answers to questions as one file.

    Raises:
        OSError: it cannot be written; what was there is whole.
    """
    arrays: dict[str, NDArray[np.generic]] = {_QUESTIONS: np.array(digest_of(questions))}
    for number, one in enumerate(recordings):
        arrays[f"{number}.prompt"] = np.array(one.prompt, np.int32)
        arrays[f"{number}.tokens"] = np.array(one.tokens, np.int32)
    with written_whole(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_recordings(path: Path, questions: Sequence[Question]) -> list[Recording]:
    """What `save_recordings` wrote for these questions; nothing where the file is missing, damaged, or of others."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored[_QUESTIONS]) != digest_of(questions):
                return []
            return [
                Recording(
                    tuple(stored[f"{number}.prompt"].tolist()),
                    tuple(stored[f"{number}.tokens"].tolist()),
                )
                for number in range(len(questions))
            ]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return []
