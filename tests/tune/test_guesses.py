"""What a draft would have guessed, read in one pass: the same as decoding place by place."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.decode.replay import Recording
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.tune.guesses import guess_all, guess_listed, read_guesses
from tests.recorded_progress import RecordedProgress
from tests.tune.made_up import recording


def test_guesses_are_those_of_the_draft_after_the_true_text(tiny_draft: Path, recordings: list[Recording]):
    progress = RecordedProgress()
    progress.stage("guessing", len(recordings))
    with Model(tiny_draft) as model:
        (found,) = read_guesses(model, recordings, [None], 1, progress)
        with Context(model, ContextSettings(512, 1)) as context:
            for one, guesses in zip(recordings, found, strict=True):
                assert len(guesses.tokens) == len(guesses.leads) == len(one.tokens)
                # Where two tokens are nearly level, a batch of another size may prefer the other one.
                sure = [place for place, lead in enumerate(guesses.leads[:40]) if lead > 0.2]
                assert len(sure) > 10
                for place in sure[::3]:
                    context.clear()
                    context.prefill([*one.prompt, *one.tokens[:place]])
                    best, lead = context.best_guess()
                    assert best == guesses.tokens[place]
                    assert lead == pytest.approx(guesses.leads[place], abs=0.1)
    assert progress.find("guessing") == [(3, 3)]


def test_a_shortlist_takes_tokens_away_until_the_text_says_them(
    tiny_draft: Path, recordings: list[Recording]
):
    with Model(tiny_draft) as model:
        everything = np.ones(model.n_vocab, np.bool_)
        nothing = np.zeros(model.n_vocab, np.bool_)
        whole, free, bare = read_guesses(model, recordings, [None, everything, nothing], 1)
    assert [one.tokens for one in free] == [one.tokens for one in whole]
    for answer, guesses in zip(recordings, bare, strict=True):
        for place, token in enumerate(guesses.tokens):
            assert token in answer.prompt or token in answer.tokens[:place]


def test_the_whole_vocabulary_gives_the_largest_logit_and_its_lead():
    # More rows than are looked at in one go.
    logits = np.tile(np.array([0.0, 1.0, 4.0, 2.5], np.float32), (20, 1))
    logits[17] = [9.0, 1.0, 4.0, 2.5]
    found = guess_all(logits)
    assert found.tokens == (*(2,) * 17, 0, 2, 2)
    assert found.leads == (*(1.5,) * 17, 5.0, 1.5, 1.5)


def test_a_token_of_the_answer_may_be_guessed_from_where_it_was_said_on():
    answer = recording([3, 3, 4], prompt=[2])
    mask = np.array([True, True, False, False, False, False])
    # The largest logit is that of token 5, which is nowhere; then come 4, 3 and 2.
    logits = np.tile(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], np.float32), (3, 1))
    found = guess_listed(logits, answer, mask)
    assert found.tokens == (2, 3, 3)
    assert found.leads == (1.0, 1.0, 1.0)
    assert mask.tolist() == [True, True, False, False, False, False]
