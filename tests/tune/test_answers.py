"""A target's answers: recorded once, for fitting and for judging."""

from pathlib import Path

import pytest

from edgespec.decode.replay import Recording
from edgespec.paths import derived_file, derived_models_dir
from edgespec.tune.answers import Answers, find_or_record_answers
from edgespec.tune.questions import fit_questions, held_out_prompts
from edgespec.tune.recordings import load_recordings, save_recordings
from edgespec.tune.variants import PUBLISHED, TargetVariant
from quant.text.answers import Question
from tests.recorded_progress import RecordedProgress
from tests.tune.made_up import recording

RECORDING = f"recording answers, target {PUBLISHED}"


@pytest.fixture
def variant(tiny_model: Path) -> TargetVariant:
    return TargetVariant(PUBLISHED, tiny_model)


def _questions() -> list[Question]:
    return [*fit_questions(), *(prompt.messages for prompt in held_out_prompts())]


def _store(variant: TargetVariant, questions: list[Question], recordings: list[Recording]) -> Path:
    file = derived_file(variant.path, "tune-answers.npz")
    file.parent.mkdir(parents=True, exist_ok=True)
    save_recordings(file, questions, recordings)
    return file


def test_answers_are_recorded_once_and_found_again(variant: TargetVariant):
    first, second = RecordedProgress(), RecordedProgress()
    recorded = find_or_record_answers(variant, 1, first)
    assert first.find(RECORDING) == [(44, 44)]
    assert (len(recorded.fit), len(recorded.held_out)) == (24, 20)
    found = find_or_record_answers(variant, 1, second)
    assert second.labels == []
    assert [one.tokens for one in found.fit] == [one.tokens for one in recorded.fit]
    assert [one.prompt for one in found.held_out] == [one.prompt for one in recorded.held_out]


def test_answers_too_short_to_say_anything_are_left_out(variant: TargetVariant):
    whole, short = recording(range(40, 60)), recording([40, 41, 42])
    _store(variant, _questions(), [short, *[whole] * 23, *[whole] * 18, short, short])
    found = find_or_record_answers(variant, 1)
    assert (len(found.fit), len(found.held_out)) == (23, 18)


def test_a_file_of_other_questions_is_recorded_anew(variant: TargetVariant):
    # As many, but one of them is another one.
    others = [*_questions()[:-1], fit_questions()[0]]
    made_up = [recording(range(40, 60))] * len(others)
    file = _store(variant, others, made_up)
    progress = RecordedProgress()
    found = find_or_record_answers(variant, 1, progress)
    assert progress.labels == [RECORDING]
    assert made_up[0] not in (*found.fit, *found.held_out)
    assert load_recordings(file, _questions()) == [*found.fit, *found.held_out]


def test_where_nothing_can_be_kept_the_answers_are_there_all_the_same(variant: TargetVariant):
    derived_models_dir().parent.mkdir(parents=True)
    derived_models_dir().write_text("a file where the folder should be")
    assert len(find_or_record_answers(variant, 1).fit) == 24


def test_the_text_for_fitting_is_that_of_questions_and_answers(variant: TargetVariant):
    prompt, answer = list(b"Why?"), list(b"So.")
    first_byte = 3  # of the 256 byte tokens of a SentencePiece vocabulary
    one = recording([first_byte + byte for byte in answer], [first_byte + byte for byte in prompt])
    other = recording([first_byte + 0xFF], [])
    assert Answers(variant, (one, other), (other,)).fit_text() == "Why?So.\n\N{REPLACEMENT CHARACTER}"
