"""A search's kept outcome with anything in it: shown, or one line that names the file."""

import json
from dataclasses import asdict
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgespec.errors import ExitCode
from edgespec.paths import tunes_dir
from edgespec.tune.outcome import SCHEMA, Candidate, TuneOutcome
from tests.conftest import RunCli
from tests.odd_documents import changed

PLAIN = Candidate("as published", "none", None, None, 20.0, 1.0, 20.0, 1.0, 0.0, 1.0)
TUNED = Candidate("Q4_0", "small", 0.7, 0.3, 33.0, 1.65, 32.0, 1.6, 0.02, 1.1, is_untuned=True, kl=0.06)
SOUND = {"schema": SCHEMA, **asdict(TuneOutcome("big", "", (TUNED, PLAIN), 0, "so", 9.0, 99.0))}
COMMANDS = st.sampled_from([("tune", "big", "--explain"), ("tune", "big", "--explain", "--json")])
FAST = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check_answer(run_cli: RunCli, text: str, command: tuple[str, ...]) -> None:
    file = tunes_dir() / "big.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    result = run_cli(*command)
    if result.code == 0:
        assert result.out
        return
    assert (result.code, result.out, str(file) in result.err) == (ExitCode.USAGE, "", True), result.err
    assert len(result.err.splitlines()) == 1


@FAST
@given(document=changed(SOUND), command=COMMANDS)
@example(document={**SOUND, "winner": 2}, command=("tune", "big", "--explain"))
@example(document={**SOUND, "winner": -1}, command=("tune", "big", "--explain"))
@example(document={**SOUND, "candidates": []}, command=("tune", "big", "--explain"))
def test_any_document_is_shown_or_refused_by_name(
    run_cli: RunCli, document: Any, command: tuple[str, ...]
) -> None:
    check_answer(run_cli, json.dumps(document), command)


@settings(FAST, max_examples=50)
@given(end=st.integers(0, 1000), more=st.text(max_size=10), command=COMMANDS)
def test_any_text_is_shown_or_refused_by_name(
    run_cli: RunCli, end: int, more: str, command: tuple[str, ...]
) -> None:
    check_answer(run_cli, json.dumps(SOUND)[:end] + more, command)
