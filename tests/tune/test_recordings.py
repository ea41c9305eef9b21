"""Recordings against the real loop: what is written in a batch is what plain decoding writes."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.chat.prompt_tokens import tokenize_chat
from edgespec.decode.replay import Recording
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.tune.recordings import (
    ANSWER_TOKENS,
    batches_of,
    count_until_end,
    leads_of,
    load_recordings,
    record_answers,
    save_recordings,
    write_batch,
)
from tests.recorded_progress import RecordedProgress
from tests.tune.conftest import QUESTIONS


def test_answers_are_those_of_plain_decoding(tiny_model: Path, recordings: list[Recording]):
    with Model(tiny_model) as model, Context(model, ContextSettings(512, 1)) as context:
        for messages, recording in zip(QUESTIONS, recordings, strict=True):
            prompt = tokenize_chat(context, messages)
            assert recording.prompt == tuple(prompt)
            assert len(recording.tokens) == ANSWER_TOKENS
            context.clear()
            context.prefill(prompt)
            for token in recording.tokens[:20]:
                best, _lead = context.best_guess()
                assert best == token
                context.decode([token])


def test_more_questions_than_a_batch_holds_are_told_of_as_they_are_answered(tiny_model: Path):
    progress = RecordedProgress()
    progress.stage("recording", 9)
    with Model(tiny_model) as model:
        found = record_answers(model, [[ChatMessage("user", f"Word {n}")] for n in range(9)], 1, progress)
    assert progress.find("recording") == [(9, 9)]
    assert len({one.prompt for one in found}) == 9


def test_recordings_stand_in_the_order_of_the_questions_whatever_their_length(tiny_model: Path):
    texts = ["a" * 300, "b", "c" * 20, "d" * 5000]
    with Model(tiny_model) as model:
        questions = [[ChatMessage("user", text)] for text in texts]
        found = record_answers(model, questions, 1)
        alone = [record_answers(model, [question], 1)[0] for question in questions[:3]]
    assert found[:3] == alone
    assert len(found[3].prompt) > 2500


@pytest.mark.parametrize(
    ("lengths", "batches"),
    [
        ([30, 5000, 20, 5100], [[2, 0], [1], [3]]),
        ([100] * 9, [[0, 1, 2, 3, 4, 5, 6, 7], [8]]),
        ([5000], [[0]]),
    ],
)
def test_prompts_of_like_length_share_a_cache_of_bounded_size(lengths: list[int], batches: list[list[int]]):
    assert batches_of(lengths) == batches


def test_a_text_is_over_at_the_first_token_that_ends_it(tiny_model: Path):
    with Model(tiny_model) as model:
        end = next(token for token in range(model.n_vocab) if model.is_end(token))
        assert count_until_end(model, [40, 41, end, 42, end]) == 2
        assert count_until_end(model, [40, 41]) == 2
        assert count_until_end(model, [end]) == 0


def test_a_recording_stops_before_the_token_that_ends_the_answer(
    ending_model: Path, recordings: list[Recording]
):
    with Model(ending_model) as model:
        found = record_answers(model, QUESTIONS, 1)
        assert not [token for one in found for token in one.tokens if model.is_end(token)]
    assert len(found[0].tokens) <= 10
    for short, long in zip(found, recordings, strict=True):
        assert short.tokens == long.tokens[: len(short.tokens)]


def test_drawn_texts_differ_by_their_seeds_and_come_again_with_them(tiny_model: Path):
    drawn = Sampling(temperature=2.0, seed=4)
    with Model(tiny_model) as model:
        first = write_batch(model, [[60, 61]] * 3, 12, 1, drawn)
        again = write_batch(model, [[60, 61]] * 3, 12, 1, drawn)
    assert first == again
    assert len({tuple(one) for one in first}) == 3


def test_whoever_looks_on_sees_the_logits_that_each_token_was_chosen_by(tiny_model: Path):
    seen: list[list[int]] = []
    with Model(tiny_model) as model:
        texts = write_batch(
            model,
            [[60, 61], [70, 71, 72]],
            5,
            1,
            see=lambda logits: seen.append(logits.argmax(axis=1).tolist()),
        )
    assert np.array(seen).T.tolist() == texts


def test_a_lead_is_the_best_minus_the_second_best():
    logits = np.array([[1.0, 5.0, 2.0], [0.5, 0.0, 0.25]], np.float32)
    assert leads_of(logits).tolist() == [3.0, 0.25]


def test_recordings_come_back_from_their_file(tmp_path: Path, recordings: list[Recording]):
    file = tmp_path / "answers.npz"
    save_recordings(file, QUESTIONS, recordings)
    assert load_recordings(file, QUESTIONS) == recordings
    file.write_bytes(file.read_bytes()[:100])
    assert load_recordings(file, QUESTIONS) == []
    assert load_recordings(tmp_path / "none.npz", QUESTIONS) == []


def test_recordings_of_other_questions_are_not_taken_for_these(tmp_path: Path, recordings: list[Recording]):
    file = tmp_path / "answers.npz"
    save_recordings(file, QUESTIONS, recordings)
    other = [QUESTIONS[0], QUESTIONS[1], [ChatMessage("user", "Why not?")]]
    said_by_another = [QUESTIONS[0], QUESTIONS[1], [ChatMessage("system", "Why?")]]
    for questions in (other, said_by_another, QUESTIONS[::-1], QUESTIONS[:2]):
        assert load_recordings(file, questions) == []


def test_a_file_of_the_form_with_gaps_and_without_questions_is_not_read(
    tmp_path: Path, recordings: list[Recording]
):
    file = tmp_path / "answers.npz"
    arrays = {}
    for number, one in enumerate(recordings):
        arrays[f"{number}.prompt"] = np.array(one.prompt, np.int32)
        arrays[f"{number}.tokens"] = np.array(one.tokens, np.int32)
        arrays[f"{number}.gaps"] = np.ones(len(one.tokens), np.float32)
    np.savez(file, **arrays)
    assert load_recordings(file, QUESTIONS) == []
