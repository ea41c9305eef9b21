"""What a draft would have guessed, read in two passes: the same as decoding place by place."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.decode.drafters.draft_model import WINDOWS
from edgespec.decode.replay import Recording
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.tune.guesses import guess_all, guess_listed, read_guesses
from tests.recorded_progress import RecordedProgress
from tests.tune.made_up import recording


@pytest.fixture
def longer(recordings: list[Recording]) -> list[Recording]:
    """The recordings whose prompts are longer than what a draft may begin with."""
    found = [one for one in recordings if len(one.prompt) > WINDOWS[0]]
    assert found
    return found


def test_guesses_are_those_of_the_draft_after_the_true_text(tiny_draft: Path, longer: list[Recording]):
    progress = RecordedProgress()
    progress.stage("guessing", len(longer))
    with Model(tiny_draft) as model:
        (found,) = read_guesses(model, longer, [None], 1, progress)
        with Context(model, ContextSettings(512, 1)) as context:
            for one, guesses in zip(longer, found, strict=True):
                assert [view.begin for view in guesses.views] == [0, len(one.prompt) - WINDOWS[0]]
                for view in guesses.views:
                    assert view.first == 0
                    assert len(view.tokens) == len(view.leads) == len(one.tokens)
                    # Where two tokens are nearly level, a batch of another size may prefer the other one.
                    sure = [place for place, lead in enumerate(view.leads[:40]) if lead > 0.2]
                    assert len(sure) > 10
                    for place in sure[::3]:
                        context.clear()
                        context.prefill([*one.prompt[view.begin :], *one.tokens[:place]])
                        best, lead = context.best_guess()
                        assert best == view.tokens[place]
                        assert lead == pytest.approx(view.leads[place], abs=0.1)
    assert progress.find("guessing") == [(len(longer), len(longer))]


def test_a_draft_that_has_not_read_all_guesses_something_else(tiny_draft: Path, longer: list[Recording]):
    with Model(tiny_draft) as model:
        (found,) = read_guesses(model, longer, [None], 1)
    assert all(one.views[0].tokens != one.views[1].tokens for one in found)


def test_a_prompt_that_a_draft_reads_whole_in_any_case_is_read_once(tiny_draft: Path):
    short = recording(range(60, 80), prompt=range(60, 60 + WINDOWS[0]))
    with Model(tiny_draft) as model:
        ((guesses,),) = read_guesses(model, [short], [None], 1)
    assert [view.begin for view in guesses.views] == [0]


def test_a_shortlist_takes_tokens_away_until_the_text_says_them(
    tiny_draft: Path, recordings: list[Recording]
):
    with Model(tiny_draft) as model:
        everything = np.ones(model.n_vocab, np.bool_)
        nothing = np.zeros(model.n_vocab, np.bool_)
        whole, free, bare = read_guesses(model, recordings, [None, everything, nothing], 1)
    assert free == whole
    for answer, guesses in zip(recordings, bare, strict=True):
        for place, token in enumerate(guesses.whole.tokens):
            assert token in answer.prompt or token in answer.tokens[:place]


def test_the_whole_vocabulary_gives_the_largest_logit_and_its_lead():
    # More rows than are looked at in one go.
    logits = np.tile(np.array([0.0, 1.0, 4.0, 2.5], np.float32), (20, 1))
    logits[17] = [9.0, 1.0, 4.0, 2.5]
    tokens, leads = guess_all(logits)
    assert tokens == (*(2,) * 17, 0, 2, 2)
    assert leads == (*(1.5,) * 17, 5.0, 1.5, 1.5)


def test_a_token_of_the_answer_may_be_guessed_from_where_it_was_said_on():
    answer = recording([3, 3, 4], prompt=[2])
    mask = np.array([True, True, False, False, False, False])
    # The largest logit is that of token 5, which is nowhere; then come 4, 3 and 2.
    logits = np.tile(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], np.float32), (3, 1))
    assert guess_listed(logits, answer, mask) == ((2, 3, 3), (1.0, 1.0, 1.0))
    assert mask.tolist() == [True, True, False, False, False, False]
