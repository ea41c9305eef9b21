"""Answers of a structure, through the Python API: thoughts before them are free."""

import json
from pathlib import Path

import pytest

from edgespec.chat.structure import Structure, StructureKind
from edgespec.chat.thinking import AS_IT_LIKES, Thinking
from edgespec.decode.token import DraftSource, Token
from edgespec.errors import UsageError
from edgespec.llama.sampler import Sampling
from edgespec.session import Session, open_pair
from tests.scripted_model import TEMPLATE, make_scripted_model
from tests.session.eager import draft_eagerly
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

SCRIPT = ("<think>", "Hm", ", so", "</think>", "\n\n", "Yes", " indeed", ".")
MARKS = ("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>")
CONTROL_SCRIPT = (MARKS[0], "Hm", ".", MARKS[1], MARKS[2], "Yes", " sir", MARKS[3])
BEGUN = TEMPLATE.replace("<assistant>", "<assistant><think>")
THINKING_TEMPLATE = TEMPLATE + "{# <think> #}"


def grammar(text: str) -> Structure:
    return Structure(StructureKind.GBNF, f"root ::= {text}")


def ask(
    session: Session, structure: Structure, thinking: Thinking = AS_IT_LIKES, **options: int
) -> list[Token]:
    return list(session.stream("Is it?", structure=structure, thinking=thinking, **options))


def parts(tokens: list[Token]) -> tuple[str, str]:
    return "".join(token.thought for token in tokens), "".join(token.text for token in tokens)


@pytest.mark.parametrize("draft", ["none", "ngram"])
@pytest.mark.parametrize(
    ("structure", "answer"),
    [
        (grammar('"Yes" [ a-z]+ "."'), "Yes indeed."),
        (grammar('"Yes."'), "Yes."),
        (grammar('"so" | "." | "indeed"'), "."),
    ],
)
def test_a_thought_is_free_and_the_answer_fits(
    tmp_path: Path, draft: str, structure: Structure, answer: str
) -> None:
    path = make_scripted_model(tmp_path / "m.gguf", SCRIPT, chat_template=THINKING_TEMPLATE)
    with open_pair(path, draft) as session:
        assert parts(ask(session, structure, max_tokens=30)) == ("Hm, so", answer)
        assert session.stats.stopped == "eog"


def test_control_tokens_are_marks_and_nothing_else(tmp_path: Path) -> None:
    path = make_scripted_model(
        tmp_path / "m.gguf", CONTROL_SCRIPT, control=MARKS, chat_template=TEMPLATE + "{# <|END_THINKING|> #}"
    )
    with open_pair(path, "none") as session:
        tokens = ask(session, grammar("[^x]{4,40}"), max_tokens=12)
        model = session.engine.target.model
        assert [name for token in tokens if (name := model.control_text(token.id))] == list(MARKS[:3])
        thought, answer = parts(tokens)
        assert thought == "Hm."
        assert answer.startswith("Yes sirYes")


def test_a_thought_that_the_prompt_begins_is_free(tmp_path: Path) -> None:
    path = make_scripted_model(tmp_path / "m.gguf", SCRIPT, chat_template=BEGUN)
    with open_pair(path, "none") as session:
        assert parts(ask(session, grammar('"Yes."'), max_tokens=30)) == ("Hm, so", "Yes.")


@pytest.mark.parametrize("budget", [0, 2])
def test_the_answer_fits_where_the_thought_is_ended(tmp_path: Path, budget: int) -> None:
    path = make_scripted_model(tmp_path / "m.gguf", SCRIPT, chat_template=BEGUN)
    with open_pair(path, "none") as session:
        thought = "Hm, so" if budget else ""
        assert parts(ask(session, grammar('"Yes."'), Thinking(budget=budget))) == (thought, "Yes.")


def test_an_answer_without_a_thought_fits_too(tmp_path: Path) -> None:
    path = make_scripted_model(tmp_path / "m.gguf", SCRIPT[5:], chat_template=THINKING_TEMPLATE)
    with open_pair(path, "none") as session:
        assert parts(ask(session, grammar('"Yes."'))) == ("", "Yes.")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("structure") / "m.gguf"
    return make_tiny_model(path, chat_template=CHAT_TEMPLATE, tokenizer="bpe")


@pytest.mark.parametrize("raw", [False, True])
def test_a_schema_gives_its_json_and_the_grammar_drafts(
    tiny: Path, raw: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft_eagerly(monkeypatch)
    schema = {"properties": {"color": {"enum": ["red", "green"]}, "size": {"type": "integer", "maximum": 9}}}
    structure = Structure(StructureKind.SCHEMA, json.dumps(schema | {"required": ["color", "size"]}))
    answers = []
    for draft in ("none", "ngram"):
        with open_pair(tiny, draft) as session:
            tokens = list(session.stream("a value", structure=structure, raw=raw, max_tokens=200))
            answers.append([token.id for token in tokens])
            found = json.loads("".join(token.text for token in tokens))
            assert found["color"] in ("red", "green")
            assert found["size"] <= 9
        assert (DraftSource.GRAMMAR in session.stats.by_source) is (draft == "ngram")
    assert answers[0] == answers[1]


def test_any_object_is_an_object(tiny: Path) -> None:
    with open_pair(tiny, "none") as session:
        sampling = Sampling(temperature=2.0, seed=1)
        text = "".join(
            token.text
            for token in session.stream("x", structure=Structure(StructureKind.JSON), sampling=sampling)
        )
        assert text.startswith("{")
        if session.stats.stopped == "eog":
            assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (grammar("other"), "the grammar has no rule other"),
        (Structure(StructureKind.GBNF, 'start ::= "x"'), "the grammar has no rule root"),
        (Structure(StructureKind.SCHEMA, '{"not": {}}'), '"not" of the schema cannot become a grammar'),
    ],
)
def test_what_is_no_structure_is_an_error_and_the_session_goes_on(
    tiny: Path, structure: Structure, message: str
) -> None:
    with open_pair(tiny, "none") as session:
        with pytest.raises(UsageError, match=message):
            ask(session, structure)
        assert len(ask(session, grammar('"x" [a-z]{3}'), max_tokens=9)) == 5


def test_forced_tokens_are_counted_as_the_grammars(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft_eagerly(monkeypatch)
    with open_pair(tiny, "ngram") as session:
        tokens = ask(session, grammar('"the cat sat on the mat and the dog sat on the cat"'))
        stats = session.stats
        assert parts(tokens)[1] == "the cat sat on the mat and the dog sat on the cat"
        assert "tokens from the grammar accepted" in stats.why
