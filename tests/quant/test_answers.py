"""A model's own answers: the same ones whatever was written before, kept, and not those that calibration reads."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.llama.model import Model
from quant.text.answers import answer_tokens, answered_windows
from quant.text.calibration import calibration_prompts
from tests.recorded_progress import RecordedProgress, Stage

QUESTIONS = [[ChatMessage("user", text)] for text in ("the rain", "a hen in the tree", "the land")]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "answers.npz"


def test_fewer_are_the_beginning_of_more(tiny_model: Path, store: Path, tmp_path: Path):
    with Model(tiny_model) as model:
        at_once = answer_tokens(model, QUESTIONS, 2000, store)
        in_steps = [answer_tokens(model, QUESTIONS, n, tmp_path / "steps.npz") for n in (5, 900, 2000, 700)]
    assert [len(tokens) for tokens in in_steps] == [5, 900, 2000, 700]
    for tokens in in_steps:
        np.testing.assert_array_equal(tokens, at_once[: len(tokens)])


def test_what_is_kept_is_not_written_again(tiny_model: Path, store: Path):
    first, told = RecordedProgress(), RecordedProgress()
    with Model(tiny_model) as model:
        written = answer_tokens(model, QUESTIONS, 900, store, progress=first)
        kept = store.read_bytes()
        again = answer_tokens(model, QUESTIONS, 900, store, progress=told)
    np.testing.assert_array_equal(written, again)
    assert first.stages == [Stage("writing answers", 900, "steps", 900)]
    assert told.stages == []
    assert store.read_bytes() == kept


def test_an_interruption_keeps_what_is_there(tiny_model: Path, store: Path):
    class StoppedAfterOne(RecordedProgress):
        def advance(self, amount: float = 1) -> None:
            raise KeyboardInterrupt

    with Model(tiny_model) as model:
        with pytest.raises(KeyboardInterrupt):
            answer_tokens(model, QUESTIONS, 2000, store, progress=StoppedAfterOne())
        with np.load(store) as kept:
            first = kept["0"]
            assert sorted(kept.files) == ["0", "questions"]
        whole = answer_tokens(model, QUESTIONS, 2000, store)
    np.testing.assert_array_equal(whole[: len(first)], first)


def test_a_damaged_store_is_written_anew(tiny_model: Path, store: Path):
    with Model(tiny_model) as model:
        whole = answer_tokens(model, QUESTIONS, 600, store)
        store.write_bytes(store.read_bytes()[:-40])
        again = answer_tokens(model, QUESTIONS, 600, store)
    np.testing.assert_array_equal(whole, again)


def test_answers_to_other_questions_are_not_taken_for_these(tiny_model: Path, store: Path, tmp_path: Path):
    other = [*QUESTIONS[:2], [ChatMessage("user", "the sea")]]
    with Model(tiny_model) as model:
        answer_tokens(model, other, 2000, store)
        found = answer_tokens(model, QUESTIONS, 900, store)
        np.testing.assert_array_equal(found, answer_tokens(model, QUESTIONS, 900, tmp_path / "own.npz"))


def test_a_store_that_does_not_say_what_was_asked_is_written_anew(
    tiny_model: Path, store: Path, tmp_path: Path
):
    np.savez(store, **{str(number): np.full(900, 40, np.int32) for number in range(3)})
    with Model(tiny_model) as model:
        found = answer_tokens(model, QUESTIONS, 900, store)
        np.testing.assert_array_equal(found, answer_tokens(model, QUESTIONS, 900, tmp_path / "own.npz"))


def test_the_longest_question_fits(tiny_model: Path, store: Path):
    questions = [[ChatMessage("user", "a hen " * 500)]]
    with Model(tiny_model) as model:
        assert len(answer_tokens(model, questions, 3000, store)) == 3000


def test_windows_are_the_answers_in_order(tiny_model: Path, store: Path):
    with Model(tiny_model) as model:
        windows = answered_windows(model, QUESTIONS, 3, n_ctx=64)
        assert windows.shape == (3, 64)
        tokens = answer_tokens(model, QUESTIONS, 3 * 64, store)
        assert model.added_bos is not None
        assert (windows[:, 0] == model.added_bos).all()
    np.testing.assert_array_equal(windows[:, 1:], tokens.reshape(3, 64)[:, 1:])


def test_calibration_reads_other_questions_than_the_benchmark():
    from edgespec.bench.prompts import builtin_prompts

    asked = {message.content for prompt in builtin_prompts() for message in prompt.messages}
    assert not asked & set(calibration_prompts())
