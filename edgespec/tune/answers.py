"""A target variant's answers: to some questions for fitting drafts, and to others for judging them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgespec.bench.prompts import Prompt, builtin_prompts, select
from edgespec.decode.chat_template import ChatMessage
from edgespec.decode.replay import Recording
from edgespec.llama.model import Model
from edgespec.paths import derived_file
from edgespec.progress import SILENT, Progress
from edgespec.tune.recordings import Conversation, load_recordings, record_answers, save_recordings
from edgespec.tune.variants import TargetVariant
from quant.text.calibration import calibration_prompts

log = logging.getLogger(__name__)

_FIT_QUESTIONS: Final = 24
_HELD_OUT_PER_CATEGORY: Final = 2
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


def held_out_prompts() -> list[Prompt]:
    """What candidates are judged by: two questions of each category of the benchmark's."""
    return list(select(builtin_prompts(), limit=_HELD_OUT_PER_CATEGORY))


def find_or_record_answers(variant: TargetVariant, n_threads: int, progress: Progress = SILENT) -> Answers:
    """The variant's answers to all questions; recorded once, in a stage of its own.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    fit = [(ChatMessage("user", question),) for question in calibration_prompts()[:_FIT_QUESTIONS]]
    questions = [*fit, *(prompt.messages for prompt in held_out_prompts())]
    file = derived_file(variant.path, "tune-answers.npz")
    known = load_recordings(file)
    if len(known) != len(questions):
        known = _record(variant, questions, n_threads, progress)
        _save(file, known)
    return Answers(variant, _telling(known[: len(fit)]), _telling(known[len(fit) :]))


def _record(
    variant: TargetVariant, questions: Sequence[Conversation], n_threads: int, progress: Progress
) -> list[Recording]:
    progress.stage(f"recording answers, target {variant.label}", len(questions))
    with Model(variant.path) as model:
        return record_answers(model, questions, n_threads, progress)


def _save(file: Path, recordings: Sequence[Recording]) -> None:
    """For the next search; this one goes on without a file."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_recordings(file, recordings)
    except OSError as err:
        log.info("the recorded answers are not saved: %s", err)


def _telling(recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    return tuple(one for one in recordings if len(one.tokens) >= _LEAST_TOKENS)
