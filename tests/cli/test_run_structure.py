"""`edgespec run` with a schema or a grammar: an answer that fits it, and one line where there can be none."""

import json
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.session.single_thread import one_thread

__all__ = ["one_thread"]
SCHEMA = '{"properties": {"kind": {"enum": ["one", "two"]}}, "required": ["kind"]}'


@pytest.mark.parametrize("given", ["text", "file"])
def test_an_answer_of_a_schema_is_its_json(run_cli: RunCli, tiny_bpe: Path, tmp_path: Path, given: str):
    file = tmp_path / "schema.json"
    file.write_text(SCHEMA, encoding="utf-8")
    schema = SCHEMA if given == "text" else file
    result = run_cli("run", tiny_bpe, "--draft", "none", "-p", "which?", "--json-schema", schema)
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out)["kind"] in ("one", "two")


def test_an_answer_of_a_grammar_is_one_of_its_texts(run_cli: RunCli, tiny_bpe: Path, tmp_path: Path):
    file = tmp_path / "answers.gbnf"
    file.write_text('root ::= "yes" | "no"', encoding="utf-8")
    result = run_cli("run", tiny_bpe, "--draft", "none", "-p", "or?", "--grammar", file)
    assert result.code == 0
    assert result.out in ("yes\n", "no\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--json-schema", '{"not": {}}'),
            'edgespec: "not" of the schema cannot become a grammar. Leave it out, and check the answer yourself\n',
        ),
        (("--json-schema", "nowhere.json"), "edgespec: nowhere.json cannot be read: "),
        (("--json-schema", "{"), "edgespec: the schema is no JSON: "),
        (("--grammar", "nowhere.gbnf"), "edgespec: nowhere.gbnf cannot be read: "),
        (
            ("--grammar", "x", "--json-schema", "{}"),
            "edgespec: --json-schema and --grammar are both given",
        ),
    ],
)
def test_a_structure_that_is_none_is_one_line_and_a_usage_error(
    run_cli: RunCli, tiny_model: Path, options: tuple[str, ...], message: str
):
    result = run_cli("run", tiny_model, "-p", "x", *options)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(message)
    assert result.err.count("\n") == 1
