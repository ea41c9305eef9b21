"""Recordings against the real loop: what is read in one pass is what decoding would have found."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.decode.chat_template import ChatMessage, tokenize_chat
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.tune.recordings import load_recordings, read_guesses, record_answers, save_recordings

QUESTIONS = [[ChatMessage("user", text)] for text in ("Name three colours.", "Say a word.", "Why?")]


@pytest.fixture(scope="module")
def recordings(tiny_model: Path):
    with Model(tiny_model) as model:
        return record_answers(model, QUESTIONS, 1, lambda _done, _total: None)


def test_answers_are_those_of_plain_decoding(tiny_model: Path, recordings):
    with Model(tiny_model) as model, Context(model, ContextSettings(512, 1)) as context:
        for messages, recording in zip(QUESTIONS, recordings, strict=True):
            prompt = tokenize_chat(context, messages)
            assert recording.prompt == tuple(prompt)
            context.clear()
            context.prefill(prompt)
            for token, gap in list(zip(recording.tokens, recording.gaps, strict=True))[:20]:
                best, lead = context.best_guess()
                assert best == token
                assert lead == pytest.approx(gap, abs=1e-2)
                context.decode([token])


def test_guesses_are_those_of_the_draft_after_the_true_text(tiny_draft: Path, recordings):
    with Model(tiny_draft) as model:
        (found,) = read_guesses(model, recordings, [None], 1)
        with Context(model, ContextSettings(512, 1)) as context:
            one, guesses = recordings[0], found[0]
            for place in range(10):
                context.clear()
                context.prefill([*one.prompt, *one.tokens[:place]])
                assert context.best_guess()[0] == guesses.tokens[place]


def test_a_word_list_takes_words_away_until_the_text_says_them(tiny_draft: Path, recordings):
    with Model(tiny_draft) as model:
        everything = np.ones(model.n_vocab, np.bool_)
        nothing = np.zeros(model.n_vocab, np.bool_)
        whole, free, bare = read_guesses(model, recordings, [None, everything, nothing], 1)
    assert [one.tokens for one in free] == [one.tokens for one in whole]
    for recording, guesses in zip(recordings, bare, strict=True):
        for place, token in enumerate(guesses.tokens):
            assert token in recording.prompt or token in recording.tokens[:place]


def test_recordings_come_back_from_their_file(tmp_path: Path, recordings):
    file = tmp_path / "answers.npz"
    save_recordings(file, recordings)
    back = load_recordings(file)
    assert [(one.prompt, one.tokens) for one in back] == [(one.prompt, one.tokens) for one in recordings]
    assert np.allclose(back[0].gaps, recordings[0].gaps, rtol=1e-5)
    file.write_bytes(file.read_bytes()[:100])
    assert load_recordings(file) == []
    assert load_recordings(tmp_path / "none.npz") == []
