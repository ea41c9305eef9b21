"""What several tests of tune read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgespec.decode.chat_template import ChatMessage
from edgespec.decode.replay import Recording
from edgespec.llama.model import Model
from edgespec.tune.answers import Answers, find_or_record_answers
from edgespec.tune.recordings import record_answers
from edgespec.tune.variants import PUBLISHED, TargetVariant

QUESTIONS = [[ChatMessage("user", text)] for text in ("Name three colours.", "Say a word.", "Why?")]


@pytest.fixture(scope="session")
def recordings(tiny_model: Path) -> list[Recording]:
    """What `tiny_model` answers to three questions."""
    with Model(tiny_model) as model:
        return record_answers(model, QUESTIONS, 1)


@pytest.fixture(scope="session")
def answers(tiny_model: Path) -> Answers:
    """What `tiny_model` answers to the questions of a search."""
    return find_or_record_answers(TargetVariant(PUBLISHED, tiny_model), 1)


@pytest.fixture(scope="module")
def few_and_short_answers() -> Iterator[None]:
    """A held-out question of each category, and 24 tokens for each answer: a search does the same in less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgespec.tune.answers._HELD_OUT_PER_CATEGORY", 1)
        for module in ("recordings", "finalists", "search"):
            patch.setattr(f"edgespec.tune.{module}.ANSWER_TOKENS", 24)
        yield
