"""What a model answers to questions, as tokens: the text that it writes in use."""

import hashlib
import json
from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from edgespec.chat.messages import ChatMessage
from edgespec.chat.prompt_tokens import tokenize_messages
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

_ANSWER_TOKENS: Final = 384
"""In the longest answer: a window of N_CTX tokens holds more than one."""
_TEMPERATURE: Final = 0.8
"""llama.cpp's own default (common/common.h): a question gets another answer at every reading, as it does in use."""
_FIRST_SEED: Final = 1
_QUESTIONS: Final = "questions"
"""Name of what a store says of its questions, beside the answers, whose names are numbers."""


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
        store: Keeps them for the next time, and what is there after an interruption too. What it has of other
            questions is written over.
        progress: Gets the stage "writing answers", in tokens, where the store has too few.

    Raises:
        NotEnoughMemoryError: the context for the longest question does not fit.
    """
    answers = _load(store, questions)
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
            _save(store, questions, answers)
    return np.concatenate(answers)[:n_tokens]


def count_answered(questions: Sequence[Question], store: Path) -> int:
    """Tokens that a store has of these questions with their answers."""
    return sum(map(len, _load(store, questions)))


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
    """
    store = derived_file(model.path, "eval-answers.npz")
    tokens = answer_tokens(model, questions, n_chunks * n_ctx, store, progress=progress)
    return whole_windows(model, tokens, n_ctx)


def _write_answers(model: Model, questions: Sequence[Question], first: int) -> Generator[Tokens, None, None]:
    """Questions with answers, as tokens, without end, from the one with that number on."""
    prompts = [tokenize_messages(model, question) for question in questions]
    n_ctx = max(map(len, prompts)) + _ANSWER_TOKENS
    with Context(model, ContextSettings(n_ctx, default_threads())) as context:
        for number in count(first):
            sampling = Sampling(temperature=_TEMPERATURE, seed=_FIRST_SEED + number)
            with Sampler(sampling, model.n_vocab) as sampler:
                yield _answer(context, sampler, prompts[number % len(prompts)])


def _answer(context: Context, sampler: Sampler, prompt: Sequence[int]) -> Tokens:
    context.clear()
    sampler.start(prompt)
    context.prefill(prompt)
    while len(context.tokens) < len(prompt) + _ANSWER_TOKENS:
        token = sampler.sample(context, 0)
        if context.model.is_end(token):
            break
        context.decode([token])
    return np.array(context.tokens, dtype=np.int32)


def digest_of(questions: Sequence[Question]) -> str:
    """What tells questions from others, in 64 hexadecimal digits: their words, who says them, and their order."""
    said = [[(message.role, message.content) for message in question] for question in questions]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _load(store: Path, questions: Sequence[Question]) -> list[Tokens]:
    """What `_save` wrote; nothing where the file is missing, damaged, or of other questions."""
    try:
        with np.load(store, allow_pickle=False) as stored:
            if str(stored[_QUESTIONS]) != digest_of(questions):
                return []
            return [stored[str(number)] for number in range(len(stored.files) - 1)]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return []


def _save(store: Path, questions: Sequence[Question], answers: Sequence[Tokens]) -> None:
    arrays = {str(number): tokens for number, tokens in enumerate(answers)}
    arrays[_QUESTIONS] = np.array(digest_of(questions))
    with written_whole(store) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
