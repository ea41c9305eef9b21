"""A target variant's answers: to some questions for fitting drafts, and to others for judging them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgespec.decode.replay import Recording
from edgespec.llama.model import Model
from edgespec.paths import derived_file
from edgespec.progress import SILENT, Progress
from edgespec.tune.questions import fit_questions, held_out_prompts
from edgespec.tune.recordings import load_recordings, record_answers, save_recordings
from edgespec.tune.variants import TargetVariant
from quant.text.answers import Question

log = logging.getLogger(__name__)

_LEAST_TOKENS: Final = 4
"""Shorter answers say nothing about drafting."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What one target variant wrote."""

    by: TargetVariant
    fit: tuple[Recording, ...]
    """What shortlists, removed blocks and importance are chosen by."""
    held_out: tuple[Recording, ...]
    """What candidates are judged by: answers to other questions."""

    def fit_text(self) -> str:
        """Questions and answers for fitting as text, one after the other."""
        with Model(self.by.path, weights=False) as model:
            texts = [
                b"".join(model.token_bytes(token) for token in (*one.prompt, *one.tokens)) for one in self.fit
            ]
        return "\n".join(text.decode("utf-8", "replace") for text in texts)


def find_or_record_answers(variant: TargetVariant, n_threads: int, progress: Progress = SILENT) -> Answers:
    """The variant's answers to all questions but those of the proof; recorded once, in a stage of its own.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    fit = fit_questions()
    questions = [*fit, *(prompt.messages for prompt in held_out_prompts())]
    file = derived_file(variant.path, "tune-answers.npz")
    known = load_recordings(file, questions)
    if not known:
        known = _record(variant, questions, n_threads, progress)
        _save(file, questions, known)
    return Answers(variant, _telling(known[: len(fit)]), _telling(known[len(fit) :]))


def _record(
    variant: TargetVariant, questions: Sequence[Question], n_threads: int, progress: Progress
) -> list[Recording]:
    progress.stage(f"recording answers, target {variant.label}", len(questions))
    with Model(variant.path) as model:
        return record_answers(model, questions, n_threads, progress)


def _save(file: Path, questions: Sequence[Question], recordings: Sequence[Recording]) -> None:
    """For the next search; this one goes on without a file."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_recordings(file, questions, recordings)
    except OSError as err:
        log.info("the recorded answers are not saved: %s", err)


def _telling(recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    return tuple(one for one in recordings if len(one.tokens) >= _LEAST_TOKENS)
