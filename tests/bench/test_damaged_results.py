"""Saved results with anything in them, through the commands that read them: shown, or one line, and never a bug."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgespec.bench.document import to_document
from edgespec.errors import ExitCode
from edgespec.paths import results_dir
from tests.bench.runs import fixed_run
from tests.conftest import RunCli
from tests.odd_documents import changed

SOUND = to_document(fixed_run())
COMMANDS = st.sampled_from(
    [
        ("results", "list"),
        ("results", "list", "--json"),
        ("results", "show", "odd"),
        ("results", "show", "odd", "--csv"),
        ("results", "show", "odd", "--markdown"),
        ("results", "show", "odd", "--json"),
        ("results", "compare", "odd", "sound"),
    ]
)


def save(name: str, text: str) -> None:
    results_dir().mkdir(parents=True, exist_ok=True)
    (results_dir() / f"{name}.json").write_text(text, encoding="utf-8")


def check_answer(run_cli: RunCli, command: tuple[str, ...]) -> None:
    result = run_cli(*command)
    if command[1] == "list":
        assert (result.code, "sound" in result.out) == (0, True), result.err
    if result.code:
        assert result.code in (ExitCode.FAILED, ExitCode.USAGE), result.err
        assert "bug" not in result.err
        assert len(result.err.splitlines()) == 1
    else:
        assert result.out


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(document=changed(SOUND), command=COMMANDS)
def test_any_document_is_shown_or_refused_in_one_line(
    run_cli: RunCli, document: Any, command: tuple[str, ...]
) -> None:
    save("sound", json.dumps(SOUND))
    save("odd", json.dumps(document))
    check_answer(run_cli, command)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(end=st.integers(0, 2000), more=st.text(max_size=10), command=COMMANDS)
def test_any_text_is_shown_or_refused_in_one_line(
    run_cli: RunCli, end: int, more: str, command: tuple[str, ...]
) -> None:
    save("sound", json.dumps(SOUND))
    save("odd", json.dumps(SOUND)[:end] + more)
    check_answer(run_cli, command)
