"""Lessons: the target's own words, and the probabilities that it gave them."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.decode.chat_template import ChatMessage, tokenize_chat
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.tune.distillation_data import Lesson, write_lessons


@pytest.fixture(scope="module")
def lessons(tiny_model: Path) -> list[Lesson]:
    with Model(tiny_model) as model:
        seen: list[tuple[int, int]] = []
        found = write_lessons(model, 100, 1, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (100, 100)
    return found


def test_answers_are_what_the_target_says_and_how_surely(tiny_model: Path, lessons: list[Lesson]):
    assert sum(len(one.likeliest) for one in lessons) >= 100
    with Model(tiny_model) as model, Context(model, ContextSettings(512, 1, n_outputs_max=512)) as context:
        for lesson in lessons[:3]:
            answer = lesson.tokens[lesson.n_prompt :]
            assert len(answer) == len(lesson.likeliest) == len(lesson.shares)
            context.clear()
            context.decode(lesson.tokens[:-1].tolist(), outputs=len(answer))
            logits = context.logits(len(answer))
            for row, likeliest, shares in zip(logits, lesson.likeliest, lesson.shares, strict=True):
                order = np.argsort(likeliest)
                top = np.sort(np.argpartition(row, -16)[-16:])
                assert (
                    len(np.intersect1d(top, likeliest)) >= 15
                )  # the last of them may be level with the next
                expected = np.exp(row[likeliest] - row[likeliest].max())
                np.testing.assert_allclose(shares[order], (expected / expected.sum())[order], atol=2e-2)


def test_questions_stand_where_the_template_has_them(tiny_model: Path, lessons: list[Lesson]):
    with Model(tiny_model) as model, Context(model, ContextSettings(512, 1)) as context:
        example = tokenize_chat(context, [ChatMessage("user", "Why")])
    questions = [one.tokens[: one.n_prompt].tolist() for one in lessons]
    assert len({tuple(one) for one in questions}) > 1
    for question in questions:
        assert question[:2] == example[:2]
        assert question[-2:] == example[-2:]
