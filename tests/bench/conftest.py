"""A benchmark of tiny models, with every state of it that was saved."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgespec.bench.prompts import Prompt
from edgespec.bench.result import BenchResult
from edgespec.bench.speculative import BenchSettings, SpeculativeBench
from edgespec.bench.store import ResultStore
from edgespec.catalog.model_file import open_file
from edgespec.chat.messages import ChatMessage
from edgespec.progress import SILENT, Progress
from edgespec.session import EngineSettings
from edgespec.session.engine import Engine
from tests.recorded_progress import RecordedProgress
from tests.session.eager import draft_eagerly

PROMPTS = tuple(
    Prompt(f"p{number}", category, (ChatMessage("user", text),))
    for number, (category, text) in enumerate(
        [
            ("chat", "the cat and the hat"),
            ("chat", "the sea"),
            ("edit", "1 2 3 4 1 2 3 4 1 2 3 4 1 2 3 4 1 2"),
        ]
    )
)
ARMS = ["plain", "tiny-draft", "tiny-bpe", "ngram", "auto"]


@pytest.fixture
def engine(
    tiny_model: Path, tiny_draft: Path, tiny_bpe: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """A target with two drafts, of which one has another tokenizer; all of them draft whenever they can."""
    draft_eagerly(monkeypatch)
    drafts = [open_file("tiny-draft", tiny_draft), open_file("tiny-bpe", tiny_bpe)]
    with Engine(open_file("tiny", tiny_model), drafts, EngineSettings(n_threads=1)) as made:
        yield made


class Spy(ResultStore):
    """Remembers every state that was saved."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.saved: list[BenchResult] = []

    def save(self, result: BenchResult) -> Path:
        self.saved.append(result)
        return super().save(result)


@pytest.fixture
def store(tmp_path: Path) -> Spy:
    return Spy(tmp_path / "results")


def bench(
    engine: Engine,
    store: ResultStore,
    progress: Progress = SILENT,
    prompts: tuple[Prompt, ...] = PROMPTS,
    **settings: Any,
) -> BenchResult:
    chosen = BenchSettings(**{"max_tokens": 24, "repeat": 2, **settings})
    return SpeculativeBench(engine, prompts, chosen, store, progress).run()


def interrupt_at(count: int) -> RecordedProgress:
    """Ctrl-C when `count` answers of 24 tokens are out."""

    def watch(done: float, label: str) -> None:
        if done == 24 * count and not label.startswith("measuring"):
            raise KeyboardInterrupt

    return RecordedProgress(watch=watch)
