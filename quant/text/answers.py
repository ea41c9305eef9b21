"""What a model answers to questions, as tokens: the text that it writes in use."""

from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from edgespec.decode.chat_template import ChatMessage, tokenize_chat
from edgespec.files import written_whole
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampler, Sampling
from edgespec.paths import derived_file
from edgespec.progress import SILENT, Progress
from quant.text.windows import N_CTX, Tokens, whole_windows

Question = Sequence[ChatMessage]

_CONTEXT_TOKENS: Final = 2048
"""Enough for the benchmark's longest prompt, some 1,100 tokens, and the longest answer."""
_ANSWER_TOKENS: Final = 384
"""In the longest answer: a window of N_CTX tokens holds more than one."""
_TEMPERATURE: Final = 0.8
"""llama.cpp's own default (common/common.h): a question gets another answer at every reading, as it does in use."""
_FIRST_SEED: Final = 1


def answer_tokens(
    model: Model,
    questions: Sequence[Question],
    n_tokens: int,
    store: Path,
    *,
    progress: Progress = SILENT,
) -> Tokens:
    """Questions with the model's own answers, `[n_tokens]`: one after the other, then again with other seeds.

    Args:
        model: Answers.
        questions: What it is asked, in its own chat template where it has one.
        n_tokens: How many are wanted. Fewer are always the beginning of more.
        store: Keeps them for the next time, and what is there after an interruption too.
        progress: Gets the stage "writing answers", in tokens, where the store has too few.

    Raises:
        NotEnoughMemoryError: the context does not fit.
        ContextOverflowError: a question is longer than the context, 2,048 tokens.
    """
    answers = _load(store)
    n_known, n_done = len(answers), sum(map(len, answers))
    if n_done < n_tokens:
        progress.stage("writing answers", n_tokens, done=n_done)
    try:
        with closing(_write_answers(model, questions, n_known)) as written:
            while n_done < n_tokens:
                answers.append(next(written))
                progress.advance(min(len(answers[-1]), n_tokens - n_done))
                n_done += len(answers[-1])
    finally:
        if len(answers) > n_known:
            _save(store, answers)
    return np.concatenate(answers)[:n_tokens]


def answered_windows(
    model: Model,
    questions: Sequence[Question],
    n_chunks: int,
    *,
    n_ctx: int = N_CTX,
    progress: Progress = SILENT,
) -> Tokens:
    """Chunks to score models on, `[n_chunks, n_ctx]`: questions with what this one answers.

    Args:
        model: Answers.
        questions: What it is asked.
        n_chunks: How many chunks are wanted.
        n_ctx: Tokens in a chunk.
        progress: As for `answer_tokens`.

    Raises:
        NotEnoughMemoryError: the context does not fit.
        ContextOverflowError: a question is too long.
    """
    store = derived_file(model.path, "eval-answers.npz")
    tokens = answer_tokens(model, questions, n_chunks * n_ctx, store, progress=progress)
    return whole_windows(model, tokens, n_ctx)


def _write_answers(model: Model, questions: Sequence[Question], first: int) -> Generator[Tokens, None, None]:
    """Questions with answers, as tokens, without end, from the one with that number on."""
    with Context(model, ContextSettings(_CONTEXT_TOKENS, default_threads())) as context:
        for number in count(first):
            sampling = Sampling(temperature=_TEMPERATURE, seed=_FIRST_SEED + number)
            with Sampler(sampling, model.n_vocab) as sampler:
                yield _answer(context, sampler, questions[number % len(questions)])


def _answer(context: Context, sampler: Sampler, question: Question) -> Tokens:
    context.clear()
    prompt = tokenize_chat(context, question)
    sampler.start(prompt)
    context.prefill(prompt)
    while len(context.tokens) < min(len(prompt) + _ANSWER_TOKENS, _CONTEXT_TOKENS):
        token = sampler.sample(context, 0)
        if context.model.is_end(token):
            break
        context.decode([token])
    return np.array(context.tokens, dtype=np.int32)


def _load(store: Path) -> list[Tokens]:
    """What `_save` wrote; nothing where the file is missing or damaged."""
    try:
        with np.load(store, allow_pickle=False) as stored:
            return [stored[str(number)] for number in range(len(stored.files))]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return []


def _save(store: Path, answers: Sequence[Tokens]) -> None:
    with written_whole(store) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **{str(number): tokens for number, tokens in enumerate(answers)})
