"""JSON schemas as grammars: whatever the grammar lets through is a value of the schema."""

import json
from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgespec.chat.schema.convert import schema_to_gbnf
from edgespec.decode.grammar.automaton import Automaton
from edgespec.decode.grammar.constraint import GrammarConstraint
from edgespec.decode.grammar.gbnf import read_gbnf
from edgespec.decode.grammar.vocabulary import vocabulary_of
from edgespec.decode.policy import Mode, Policy
from edgespec.decode.token import DraftSource
from edgespec.errors import UsageError
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from tests.chat.schemas import Checked, nested
from tests.decode.native_grammar import NativeGrammar
from tests.decode.real import answer, open_context
from tests.tiny import make_tiny_model


def automaton_of(schema: Any) -> Automaton:
    return Automaton(read_gbnf(schema_to_gbnf(json.dumps(schema))))


def allows(schema: Any, text: str) -> bool:
    automaton = automaton_of(schema)
    return automaton.walk(automaton.start, text.encode()).can_end


def random_text(automaton: Automaton, random: Random) -> str:
    """A text of the grammar; strings and lists end soon."""
    state, text = automaton.start, bytearray()
    while state.ways and not (state.can_end and random.random() < 0.5):
        ending = [byte for byte in b'"]}' if byte in state.next_bytes]
        wanted = ending if ending and random.random() < 0.4 else sorted(state.next_bytes)
        text.append(random.choice(wanted))
        state = automaton.step(state, text[-1])
    return text.decode()


@given(nested(open_objects=True), st.integers())
def test_every_text_of_the_grammar_is_a_value_of_the_schema(one: Checked, seed: int):
    automaton, random = automaton_of(one.schema), Random(seed)
    for _ in range(5):
        text = random_text(automaton, random)
        assert one.holds(json.loads(text)), text


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": -12}'),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, "{}"),
        ({"type": "object"}, '{"x": [1, {"y": null}]}'),
        ({}, "[]"),
        (True, '"any"'),
        ({"type": ["string", "null"]}, "null"),
        ({"const": {"a": [1, 'q"']}}, '{"a": [1, "q\\""]}'),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}]}, "[1, null]"),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 3}, "[1, 2, 2]"),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"required": ["a"]}]}, '{"a": 1}'),
        ({"properties": {"a": {"const": 1}}, "anyOf": [{"required": ["a"]}]}, '{"a": 1}'),
        ({"type": "string", "format": "date"}, '"2024-02-28"'),
        ({"type": "string", "format": "date-time"}, '"2024-02-28T23:59:59Z"'),
        ({"type": "string", "format": "uuid"}, '"123e4567-e89b-12d3-a456-426614174000"'),
        ({"type": "string", "format": "email"}, '"anything"'),
        ({"type": "number"}, "-1.5e+10"),
        ({"minimum": 0}, "12.25"),
        ({"type": "integer", "exclusiveMinimum": 0, "maximum": 30}, "30"),
        ({"type": "string", "pattern": "b"}, '"abc"'),
        ({"type": "integer", "multipleOf": 1}, "7"),
        (
            {"$ref": "#/$defs/t", "$defs": {"t": {"properties": {"t": {"$ref": "#/$defs/t"}}}}},
            '{"t": {"t": {}}}',
        ),
        ({"properties": {"next": {"$ref": "#"}, "x": {"type": "null"}}}, '{"next": {"x": null}}'),
        ({"$ref": "#/definitions/a~1b%20c", "definitions": {"a/b c": {"const": 1}}}, "1"),
        (
            {
                "properties": {"p": {"$ref": "#/$defs/a/of"}, "q": {"$ref": "#/$defs/b/of"}},
                "required": ["p", "q"],
                "$defs": {"a": {"of": {"const": 1}}, "b": {"of": {"const": 2}}},
            },
            '{"p": 1, "q": 2}',
        ),
    ],
)
def test_a_value_in_the_one_form_is_let_through(schema: Any, text: str):
    assert allows(schema, text)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer", "exclusiveMinimum": 0}, "0"),
        ({"type": "integer", "minimum": 10}, "9"),
        ({"type": "integer", "maximum": -10}, "-9"),
        ({"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}, "{}"),
        ({"properties": {"a": {"const": 1}}, "additionalProperties": True}, '{"a": 2}'),
        ({"enum": ["a", 1], "type": "string"}, "1"),
        ({"type": "string"}, '"\\ud800"'),
        ({"type": "string", "pattern": "^a$"}, '"ba"'),
    ],
)
def test_what_is_no_value_is_not(schema: Any, text: str):
    assert not allows(schema, text)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"not": {}}, '"not" of the schema cannot become a grammar'),
        ({"type": "array", "uniqueItems": True}, '"uniqueItems" of the schema cannot become a grammar'),
        ({"properties": {"a": {"patternProperties": {}}}}, '"patternProperties" of the schema cannot'),
        ({"type": "integer", "multipleOf": 5}, '"multipleOf" of the schema cannot'),
        ({"type": "string", "pattern": "a", "maxLength": 3}, '"maxLength" beside "pattern" of the schema'),
        ({"type": "string", "pattern": "(?=a)"}, "\"pattern\" '(?=a)' of the schema cannot become a grammar"),
        ({"type": "string", "pattern": r"\bword"}, "\"pattern\" '\\\\bword' of the schema cannot"),
        ({"type": "string", "pattern": "[a"}, "\"pattern\" '[a' of the schema cannot"),
        ({"type": "string", "pattern": "a{,3}"}, "\"pattern\" 'a{,3}' of the schema cannot"),
        ({"$ref": "https://example.org/s"}, 'the schema has a "$ref" to https://example.org/s'),
        ({"$ref": "#/$defs/x"}, 'the schema has a "$ref" to #/$defs/x, which it does not hold'),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no number lies between the bounds"),
        ({"type": "date"}, 'the schema has a "type" "date"'),
        ({"type": 3}, 'the schema has a "type" 3'),
        ({"anyOf": []}, "the schema allows nothing: a list of its alternatives is empty"),
        ({"enum": [1], "type": "string"}, "the schema allows none of the values"),
        ({"properties": 3}, "the schema is none: a keyword has a value of the wrong kind"),
        ({"properties": {"a": False}, "required": ["a"]}, "the schema false allows nothing, or is none"),
        ({"type": "array", "items": False, "minItems": 1}, 'the schema has "minItems" 1 and fewer items'),
        ({"type": "array", "minItems": 3, "maxItems": 2}, 'the schema has "minItems" above "maxItems" 2'),
        ({"type": "string", "minLength": 3, "maxLength": 2}, 'the schema has "minLength" 3 above'),
        ({"type": "string", "minLength": 100_000}, "line "),
        ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, 'two schemas with different "pattern"'),
        ([], "the schema [] allows nothing, or is none"),
    ],
)
def test_what_cannot_become_a_grammar_is_named(schema: Any, message: str):
    with pytest.raises(UsageError) as caught:
        automaton_of(schema)
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["", "{", '{"minimum": NaN}', "[" * 5000 + "]" * 5000])
def test_what_is_no_json_is_an_error(text: str):
    with pytest.raises(UsageError, match=r"the schema (is no JSON|\[|\W)"):
        schema_to_gbnf(text)


def test_a_schema_that_leads_to_itself_is_an_error():
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    with pytest.raises(UsageError, match="no text can match the grammar"):
        automaton_of(schema)


def test_a_schema_that_is_too_deep_is_an_error():
    schema: dict[str, Any] = {}
    for _ in range(100):
        schema = {"type": "array", "items": schema}
    with pytest.raises(UsageError, match="nested deeper than 60"):
        automaton_of(schema)


@pytest.mark.parametrize("joined", [{"type": "object"}, None], ids=["beside others", "all of"])
def test_a_schema_whose_parts_double_with_every_level_is_an_error_in_time(joined: Any):
    levels = 24
    definitions: dict[str, Any] = {f"d{levels}": {"type": "object"}}
    for level in range(levels):
        following = {"$ref": f"#/$defs/d{level + 1}", **(joined or {})}
        pair = {"properties": {"a": following, "b": following}} if joined else {"allOf": [following] * 2}
        definitions[f"d{level}"] = pair
    with pytest.raises(UsageError, match="refers to its own parts too often"):
        automaton_of({"$ref": "#/$defs/d0", "$defs": definitions})


@pytest.fixture(scope="module", params=["spm", "bpe"])
def context(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    path = make_tiny_model(tmp_path_factory.mktemp("schema") / "m.gguf", tokenizer=request.param)
    with Model(path) as model, open_context(model, 512) as context:
        yield context


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(temperature=1.0, seed=3, top_k=0)], ids=["greedy", "drawn"]
)
@given(nested(open_objects=False))
def test_random_weights_write_values_of_the_schema_and_drafts_change_nothing(
    context: Context, sampling: Sampling, one: Checked
):
    automaton = automaton_of(one.schema)
    prompt = context.model.tokenize("a value:")

    def said(mode: Mode) -> Any:
        context.clear()
        constraint = GrammarConstraint(automaton, vocabulary_of(context.model))
        return answer(context, None, prompt, 400, mode=mode, sampling=sampling, constraint=constraint)

    plain, drafted = said(Mode.OFF), said(Mode.AUTO)
    assert plain.stats.stopped == "eog"
    assert one.holds(json.loads(plain.text))
    assert drafted.ids == plain.ids


@settings(max_examples=25)
@given(nested(open_objects=True), st.integers())
def test_llama_cpp_takes_the_grammars_too_and_allows_the_same(context: Context, one: Checked, seed: int):
    gbnf, model, random = schema_to_gbnf(json.dumps(one.schema)), context.model, Random(seed)
    constraint = GrammarConstraint(Automaton(read_gbnf(gbnf)), vocabulary_of(model))
    plain = [token for token in range(model.n_vocab) if is_plain(model, token)]
    with closing(NativeGrammar(model, gbnf)) as native:
        for _ in range(8):
            ours = {token for token in plain if constraint.allows(token)}
            assert ours == native.allowed() & set(plain)
            going_on = sorted(token for token in ours if not model.is_end(token))
            if not going_on:
                break
            token = random.choice(going_on)
            constraint.accept(token)
            native.accept(token)


def is_plain(model: Model, token: int) -> bool:
    return model.is_end(token) or (model.token_bytes(token).isascii() and model.token_bytes(token) > b"\0")


def test_forced_text_is_drafted_and_saves_passes(context: Context):
    schema = {"properties": {"a long name": {"type": "boolean"}, "another": {"const": "always so"}}}
    schema["required"] = [*schema["properties"]]
    constraint = GrammarConstraint(automaton_of(schema), vocabulary_of(context.model))
    context.clear()
    prompt = context.model.tokenize("x")
    done = answer(context, None, prompt, 200, constraint=constraint, mode=Mode.NGRAM, policy=Policy)
    tested, accepted = done.stats.by_source[DraftSource.GRAMMAR]
    assert tested >= accepted > 10
    assert done.stats.target_passes < done.stats.predicted_n / 2
