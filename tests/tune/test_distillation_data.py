"""Distillation data: the target's own words, and the probabilities that it gave them."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.chat.prompt_tokens import tokenize_chat
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.tune.distillation_data import (
    DistillationSample,
    likeliest_of,
    write_distillation_data,
)
from tests.recorded_progress import RecordedProgress

WRITING = "writing distillation data"


@pytest.fixture(scope="module")
def samples(tiny_model: Path) -> list[DistillationSample]:
    progress = RecordedProgress()
    with Model(tiny_model) as model:
        found = write_distillation_data(model, 100, 1, progress=progress)
    assert progress.find(WRITING) == [(100, 100)]
    return found


def test_without_time_a_batch_of_questions_is_answered_and_no_more(tiny_model: Path):
    progress = RecordedProgress()
    with Model(tiny_model) as model:
        found = write_distillation_data(model, 1_000_000, 1, lambda: False, progress)
    assert 0 < len(found) <= 16
    assert progress.find(WRITING) == [(1_000_000, sum(one.n_answered for one in found))]


def test_the_token_that_ends_an_answer_is_learnt_too_and_nothing_after_it(ending_model: Path):
    with Model(ending_model) as model:
        found = write_distillation_data(model, 100, 1, lambda: False)
        endings = [[model.is_end(token) for token in one.tokens[one.n_prompt :].tolist()] for one in found]
    assert any(ends[-1] for ends in endings)
    assert not any(any(ends[:-1]) for ends in endings)
    assert [len(ends) for ends in endings] == [one.n_answered for one in found]


def test_the_likeliest_tokens_come_with_their_shares_of_one():
    logits = np.full((2, 40), -50.0, np.float32)
    logits[0, 7], logits[0, 30] = np.log([3.0, 1.0])
    logits[1, 5] = 2.0
    ids, probabilities = likeliest_of(logits)
    assert ids.shape == probabilities.shape == (2, 16)
    first = dict(zip(ids[0].tolist(), probabilities[0].tolist(), strict=True))
    assert (first[7], first[30]) == (pytest.approx(0.75), pytest.approx(0.25))
    assert probabilities.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert ids[1, probabilities[1].argmax()] == 5


def test_answers_are_what_the_target_says_and_how_surely(tiny_model: Path, samples: list[DistillationSample]):
    assert sum(len(one.likeliest) for one in samples) >= 100
    with Model(tiny_model) as model, Context(model, ContextSettings(512, 1, n_outputs_max=512)) as context:
        for sample in samples[:3]:
            answer = sample.tokens[sample.n_prompt :]
            assert len(answer) == len(sample.likeliest) == len(sample.probabilities)
            context.clear()
            context.decode(sample.tokens[:-1].tolist(), outputs=len(answer))
            logits = context.logits(len(answer))
            for row, likeliest, shares in zip(logits, sample.likeliest, sample.probabilities, strict=True):
                order = np.argsort(likeliest)
                top = np.sort(np.argpartition(row, -16)[-16:])
                assert (
                    len(np.intersect1d(top, likeliest)) >= 15
                )  # the last of them may be level with the next
                expected = np.exp(row[likeliest] - row[likeliest].max())
                np.testing.assert_allclose(shares[order], (expected / expected.sum())[order], atol=2e-2)


def test_questions_stand_where_the_template_has_them(tiny_model: Path, samples: list[DistillationSample]):
    with Model(tiny_model) as model, Context(model, ContextSettings(512, 1)) as context:
        example = tokenize_chat(context, [ChatMessage("user", "Why")])
    questions = [one.tokens[: one.n_prompt].tolist() for one in samples]
    assert len({tuple(one) for one in questions}) > 1
    for question in questions:
        assert question[:2] == example[:2]
        assert question[-2:] == example[-2:]
