"""Recordings against the real loop: what is written in a batch is what plain decoding writes."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.decode.chat_template import ChatMessage, tokenize_chat
from edgespec.decode.replay import Recording
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.tune.recordings import (
    ANSWER_TOKENS,
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
            assert len(recording.tokens) == len(recording.gaps) == ANSWER_TOKENS
            context.clear()
            context.prefill(prompt)
            for token, gap in list(zip(recording.tokens, recording.gaps, strict=True))[:20]:
                best, lead = context.best_guess()
                assert best == token
                assert lead == pytest.approx(gap, abs=1e-2)
                context.decode([token])


def test_more_questions_than_a_batch_holds_are_told_of_as_they_are_answered(tiny_model: Path):
    progress = RecordedProgress()
    progress.stage("recording", 9)
    with Model(tiny_model) as model:
        found = record_answers(model, [[ChatMessage("user", f"Word {n}")] for n in range(9)], 1, progress)
    assert progress.find("recording") == [(9, 9)]
    assert len({one.prompt for one in found}) == 9


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
        assert len(short.gaps) == len(short.tokens)
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
    save_recordings(file, recordings)
    back = load_recordings(file)
    assert [(one.prompt, one.tokens) for one in back] == [(one.prompt, one.tokens) for one in recordings]
    assert np.allclose(back[0].gaps, recordings[0].gaps, rtol=1e-5)
    file.write_bytes(file.read_bytes()[:100])
    assert load_recordings(file) == []
    assert load_recordings(tmp_path / "none.npz") == []
