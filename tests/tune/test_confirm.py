"""Confirmation: finalists of two targets for real, on every prompt once, and again as long as the time allows."""

import logging
import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgespec.bench.arm import ArmSpec
from edgespec.bench.arm_loop import TokenizedPrompt, tokenize_prompts
from edgespec.bench.prompts import Prompt
from edgespec.catalog.model_file import open_file
from edgespec.chat.messages import ChatMessage
from edgespec.decode.policy import Mode
from edgespec.session.engine import Engine
from edgespec.session.settings import DraftType, EngineSettings
from edgespec.tune.confirm import measure_finalists
from tests.bench.wrong_tokens import accept_wrong_tokens, judge_strictly
from tests.recorded_progress import RecordedProgress
from tests.session.eager import draft_eagerly

PROMPTS = [
    Prompt(f"{category}-{number}", category, (ChatMessage("user", f"Tell me about {category} {number}."),))
    for category in ("code", "chat")
    for number in (1, 2)
]


@pytest.fixture
def targets(tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Engine]]:
    """A published target and one with other weights; n-grams are drafted wherever they can be."""
    draft_eagerly(monkeypatch)
    settings = EngineSettings(n_ctx=512, n_threads=1, draft_type=DraftType.AS_IS)
    with ExitStack() as opened:
        engines = [Engine(open_file(path.stem, path), [], settings) for path in (tiny_model, tiny_draft)]
        for engine in engines:
            opened.callback(engine.close)
            engine.measure_costs(None)
        yield engines


@pytest.fixture
def asked(targets: list[Engine]) -> list[TokenizedPrompt]:
    return tokenize_prompts(targets[0], PROMPTS)


def finalist(engine: Engine, mode: Mode) -> ArmSpec:
    return ArmSpec(f"{engine.target.file.name} + {mode}", engine, mode, None, engine.states[None])


def test_without_time_every_prompt_is_answered_once(targets: list[Engine], asked: list[TokenizedPrompt]):
    told = RecordedProgress()
    finalists = [finalist(engine, Mode.OFF) for engine in targets]
    first, second = measure_finalists(finalists, asked, 24, has_time=lambda: False, progress=told)
    assert told.steps == [(done, 8, "measuring 2 candidates") for done in (0, 1, 2, 3, 4)]
    assert (first.speedup, first.speedup_sd, first.lowest_category) == (1.0, 0.0, 1.0)
    assert second.speedup > 0
    assert second.tok_per_s > 0
    assert second.lowest_category <= second.speedup
    assert second.speedup == pytest.approx(second.tok_per_s / first.tok_per_s)


def test_with_time_every_prompt_is_answered_in_every_round(
    targets: list[Engine], asked: list[TokenizedPrompt]
):
    told = RecordedProgress()
    finalists = [finalist(engine, Mode.OFF) for engine in targets]
    _, second = measure_finalists(finalists, asked, 8, has_time=lambda: True, progress=told, repeats=3)
    assert told.steps[-1] == (12, 12, "measuring 2 candidates")
    assert second.speedup_sd > 0


def test_texts_are_compared_within_their_own_target(targets: list[Engine], asked: list[TokenizedPrompt]):
    finalists = [finalist(engine, mode) for mode in (Mode.OFF, Mode.NGRAM) for engine in targets]
    found = measure_finalists(finalists, asked, 24, has_time=lambda: False)
    assert [one.is_faithful for one in found] == [True] * 4


def test_a_finalist_that_wrote_what_its_target_would_not_is_reported(
    targets: list[Engine],
    asked: list[TokenizedPrompt],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    accept_wrong_tokens(monkeypatch, "ngram")
    judge_strictly(monkeypatch)
    retyped = targets[1]
    finalists = [
        finalist(targets[0], Mode.OFF),
        finalist(retyped, Mode.AUTO),
        finalist(retyped, Mode.NGRAM),
    ]
    with caplog.at_level(logging.WARNING):
        plain, auto, ngram = measure_finalists(finalists, asked, 24, has_time=lambda: False)
    assert (plain.is_faithful, auto.is_faithful, ngram.is_faithful) == (True, True, False)
    assert "tiny-draft + ngram left the text of its target in code-1 at token" in caplog.text


def test_answers_of_one_token_have_no_figures(targets: list[Engine], asked: list[TokenizedPrompt]):
    (only,) = measure_finalists([finalist(targets[0], Mode.OFF)], asked, 1, has_time=lambda: False)
    assert math.isnan(only.tok_per_s)
    assert math.isnan(only.lowest_category)
