"""A benchmark of the tiny pair, for the tests of `edgespec bench`."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunCli

SHORT = ("-r", "2", "-n", "16")

SPEC_BENCH = """\
{"question_id": 81, "category": "writing", "turns": ["the cat and the hat", "a second turn"]}
{"question_id": 82, "category": "writing", "turns": ["the sea and the sand"]}

{"question_id": 401, "category": "math", "turns": ["1 2 3 4 1 2 3 4 1 2 3"]}
"""


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Three prompts of two categories in Spec-Bench's form."""
    path = tmp_path / "prompts.jsonl"
    path.write_text(SPEC_BENCH, encoding="utf-8")
    return path


@pytest.fixture
def bench(run_cli: RunCli, tiny_model: Path, tiny_draft: Path, prompts: Path) -> RunCli:
    """Runs `edgespec bench` on the tiny pair and the three prompts."""

    def run(*arguments: str | Path) -> Any:
        return run_cli("bench", tiny_model, "--draft", tiny_draft, "--prompts", prompts, *SHORT, *arguments)

    return run
