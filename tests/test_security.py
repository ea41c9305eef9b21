"""SECURITY.md promises nothing that no test keeps."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TEXT = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)))


def test_there_are_promises() -> None:
    assert len(NAMED) > 30


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_keeps_a_promise_exists(file: str, name: str) -> None:
    tree = ast.parse((REPOSITORY / "tests" / file).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def test_every_promise_names_a_test() -> None:
    promises = re.findall(r"^- (.+?)(?=^- |^$)", TEXT, re.MULTILINE | re.DOTALL)
    assert [promise for promise in promises if "::test_" not in promise] == []


def test_the_readme_leads_there() -> None:
    assert "(SECURITY.md)" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
