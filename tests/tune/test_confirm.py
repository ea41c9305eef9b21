"""Confirmation: finalists of two targets for real, on as many prompts as the time allows."""

from contextlib import ExitStack
from pathlib import Path

from edgespec.bench.arms import ArmSpec
from edgespec.bench.prompts import Prompt
from edgespec.catalog.model_file import open_file
from edgespec.decode.chat_template import ChatMessage
from edgespec.decode.policy import Mode
from edgespec.session.engine import Engine
from edgespec.session.settings import DraftType, EngineSettings
from edgespec.tune.confirm import by_turns, measure_finalists
from tests.bench.told import Told

PROMPTS = [
    Prompt(f"{category}-{number}", category, (ChatMessage("user", f"Tell me about {category} {number}."),))
    for category in ("code", "chat")
    for number in (1, 2)
]


def test_every_kind_of_prompt_comes_before_the_second_of_one():
    assert [one.id for one in by_turns(PROMPTS)] == ["code-1", "chat-1", "code-2", "chat-2"]


def test_without_time_every_kind_is_answered_once(tiny_model: Path, tiny_draft: Path):
    settings = EngineSettings(n_ctx=512, n_threads=1, draft_type=DraftType.AS_IS)
    told = Told()
    with ExitStack() as opened:
        finalists = []
        for path in (tiny_model, tiny_draft):
            engine = opened.enter_context(Engine(open_file(path.stem, path), [], settings))
            finalists.append(ArmSpec(path.stem, engine, Mode.OFF, None, engine.calibrate(None)))
        first, second = measure_finalists(
            finalists,
            PROMPTS,
            24,
            has_time=lambda: False,
            progress=told,
        )
    assert told.seen == [(done, 8, "measuring 2 candidates") for done in (0, 1, 2)]
    assert (first.speedup, first.lowest_category) == (1.0, 1.0)
    assert second.speedup > 0
    assert second.tok_per_s > 0
