"""Calls of tools: their notation found out from templates, read back however they are cut, and made a grammar of."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgespec.chat.answers import AnswerParts, AnswerReader
from edgespec.chat.calls.form import HARMONY_CALLS, HERMES, CallForm
from edgespec.chat.calls.grammar import calls_gbnf
from edgespec.chat.calls.reader import CallReader, new_call_id
from edgespec.chat.calls.writing import write_calls
from edgespec.chat.marks import HARMONY
from edgespec.chat.messages import ChatMessage
from edgespec.chat.template import ChatTemplate
from edgespec.chat.tools import Tool, Toolbox, ToolCall
from edgespec.decode.grammar.automaton import Automaton
from edgespec.decode.grammar.gbnf import read_gbnf
from edgespec.errors import UsageError
from tests.chat.call_templates import NO_TOOLS_TEMPLATE, TEMPLATES

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city"],
}
TOOLS = (Tool("weather", "Tells it.", SCHEMA), Tool("now", "The time."))
BOTH = (
    ToolCall("abcdefgh1", "weather", '{"city": "Zürich \\"old\\" town", "days": 3}'),
    ToolCall("abcdefgh2", "now", "{}"),
)
QUESTION = ChatMessage("user", "What is it like?")
Read = tuple[str, list[tuple[str, Any]]]


@cache
def form_of(name: str) -> CallForm:
    form = ChatTemplate(TEMPLATES[name]).calls.form
    assert form is not None
    return form


def read(form: CallForm, text: str, cuts: Sequence[int] = (), tools: tuple[Tool, ...] = TOOLS) -> Read:
    """Its text, and the calls with their arguments; a name comes whole and first."""
    reader = CallReader(form, tools)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    parts = [reader.add(text[start:end]) for start, end in pairwise(places)]
    parts.append(reader.finish())
    calls: list[tuple[str, str]] = []
    for delta in (delta for one in parts for delta in one.calls):
        if delta.index == len(calls):
            assert delta.id
            assert delta.name
            calls.append((delta.name, delta.arguments))
        else:
            assert (delta.index, delta.id, delta.name) == (len(calls) - 1, "", "")
            calls[-1] = (calls[-1][0], calls[-1][1] + delta.arguments)
    assert reader.call_n == len(calls)
    return "".join(one.text for one in parts), [(name, json.loads(said)) for name, said in calls]


@cache
def rendered(name: str, calls: tuple[ToolCall, ...]) -> str:
    """How a template itself writes calls at the end of a conversation."""
    template = ChatTemplate(TEMPLATES[name])
    text = template.render([QUESTION, ChatMessage("assistant", "", calls=calls)], tools=TOOLS)
    return text.removesuffix("<|end|>\n<|assistant|>").rpartition("<|assistant|>")[2]


CUTS = st.lists(st.integers(0, 400), max_size=12)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=30)
@given(cuts=CUTS)
def test_what_a_template_writes_is_read_back_however_it_is_cut(name: str, cuts: list[int]):
    form = form_of(name)
    calls = BOTH[:1] if form.single else BOTH
    before = "" if not form.trigger else "I will look. "
    text, found = read(form, before + rendered(name, calls), cuts)
    assert (text, found) == (before, [(call.name, json.loads(call.arguments)) for call in calls])


@pytest.mark.parametrize("name", TEMPLATES)
def test_calls_are_written_as_the_template_writes_them(name: str):
    form = form_of(name)
    assert write_calls(form, BOTH[:1]).split() == rendered(name, BOTH[:1]).split()


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("choice", ["required", "auto"])
def test_the_grammar_lets_through_what_the_template_writes(name: str, choice: Any):
    form = form_of(name)
    automaton = automaton_of(form, Toolbox(TOOLS, choice))
    calls = BOTH[:1] if form.single else BOTH
    assert automaton.walk(automaton.start, write_calls(form, calls).encode()).can_end


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=30)
@given(seed=st.integers())
def test_every_text_of_the_grammar_is_calls(name: str, seed: int):
    form = form_of(name)
    ending = form.arguments.text_end if form.arguments else '"'
    text = random_text(required_calls(name), Random(seed), ending)
    rest, found = read(form, text)
    assert not rest.strip(), text
    assert found
    for tool, arguments in found:
        assert tool in ("weather", "now")
        if tool == "weather":
            assert isinstance(arguments["city"], str)
            assert isinstance(arguments.get("days", 1), int)
            assert arguments.get("unit", "C") in ("C", "F")


@cache
def required_calls(name: str) -> Automaton:
    return automaton_of(form_of(name), Toolbox(TOOLS, "required"))


def automaton_of(form: CallForm, toolbox: Toolbox) -> Automaton:
    gbnf, root = calls_gbnf(form, toolbox, tuple)
    return Automaton(read_gbnf(gbnf, root))


def random_text(automaton: Automaton, random: Random, ending: str) -> str:
    """Texts of a few letters, with what ends them."""
    state, text = automaton.start, b""
    while state.ways and not (state.can_end and random.random() < 0.7):
        is_free = len(state.next_bytes) > 100
        if is_free and random.random() < 0.3:
            more = ending.encode()
        else:
            likely = b"ab 1<" if is_free else state.next_bytes
            more = bytes([random.choice(sorted(likely))])
        text += more
        state = automaton.walk(state, more)
    return text.decode()


def test_a_text_without_calls_flows_at_once():
    reader = CallReader(HERMES, TOOLS)
    assert reader.add("a < b <tool").text == "a < b "
    assert reader.add("s> c").text == "<tools> c"
    assert reader.finish().text == ""


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        "<tool_call> is the mark",
        '<tool_call>\n{"name": "unknown", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"arguments": {"city": "x"}}\n</tool_call>',
        "<tool_call>\n{name: weather}\n</tool_call>",
        '<tool_call>{"name": "weath',
        'say {"name": "weather", "arguments": {}}',
    ],
)
@settings(max_examples=30)
@given(cuts=CUTS)
def test_what_only_looks_like_a_call_stays_text(text: str, cuts: list[int]):
    assert read(HERMES, text, cuts) == (text, [])


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "weather", "arguments": {"city": "x"}}</tool_call>',
        ' {"arguments" : {"city":"x"}, "name":"weather"}\n</tool_call>',
        '\n{"id": 7, "name": "weather", "arguments": "{\\"city\\": \\"x\\"}"}',
        '{"name": "weather", "arguments": {"city": "x"}}',
    ],
)
@settings(max_examples=30)
@given(cuts=CUTS)
def test_objects_are_read_in_any_order_and_with_any_space(text: str, cuts: list[int]):
    assert read(HERMES, "<tool_call>" + text, cuts) == ("", [("weather", {"city": "x"})])


def test_arguments_come_in_pieces():
    reader = CallReader(HERMES, TOOLS)
    name = reader.add('<tool_call>\n{"name": "weather", "arguments": ').calls
    assert [(one.name, one.arguments) for one in name] == [("weather", "")]
    assert [one.arguments for one in reader.add('{"city": "Zür').calls] == ['{"city": "Zür']
    assert [one.arguments for one in reader.add('ich"').calls] == ['ich"']
    assert [one.arguments for one in reader.add("}}").calls] == ["}"]


def test_an_id_of_the_model_is_kept_and_others_are_made():
    form = form_of("a list of objects with ids")
    reader = CallReader(form, TOOLS)
    said = (
        '[TOOL_CALLS][{"id": "q1w2e3r4t", "name": "now", "arguments": {}}, {"name": "now", "arguments": {}}]'
    )
    first, second = (one for one in reader.add(said).calls if one.id)
    assert first.id == "q1w2e3r4t"
    assert len(second.id) == 9
    assert new_call_id() != new_call_id()


def test_a_bare_object_is_a_call_at_the_beginning_only():
    form = form_of("objects alone")
    said = '{"name": "now", "parameters": {}}'
    assert read(form, said) == ("", [("now", {})])
    assert read(form, f"Like this: {said}") == (f"Like this: {said}", [])
    assert read(form, '{"answer": 3}') == ('{"answer": 3}', [])
    assert read(replace(form, aliases=("<|python_tag|>",)), f"<|python_tag|>{said}") == ("", [("now", {})])


def test_values_are_of_the_types_that_the_schema_says():
    properties = {"code": {"type": "string"}, "n": {"type": "integer"}, "list": {"type": "array"}}
    tools = (Tool("f", parameters={"properties": properties}),)
    text = (
        "<tool_call>\n<function=f>\n<parameter=code>\n  if a < b:\n\n    12\n</parameter>\n<parameter=n>\n12\n</parameter>\n"
        '<parameter=list>\n[1, "x"]\n</parameter>\n<parameter=other>\n12\n</parameter>\n</function>\n</tool_call>'
    )
    found = read(form_of("arguments in tags"), text, tools=tools)[1]
    assert found == [("f", {"code": "  if a < b:\n\n    12", "n": 12, "list": [1, "x"], "other": "12"})]


def test_only_the_named_tool_can_be_called_and_only_once_where_that_is_asked():
    automaton = automaton_of(HERMES, Toolbox(TOOLS, "required", only="now", parallel=False))
    one = write_calls(HERMES, BOTH[1:])
    assert automaton.walk(automaton.start, one.encode()).can_end
    assert automaton.walk(automaton.start, f"{one}\n<".encode()).is_dead
    assert automaton.walk(automaton.start, write_calls(HERMES, BOTH[:1]).encode()).is_dead
    with pytest.raises(UsageError, match="there is no tool later to call"):
        automaton_of(HERMES, Toolbox(TOOLS, "required", only="later"))


@pytest.mark.parametrize("name", TEMPLATES)
def test_with_auto_any_text_fits_and_a_call_that_begins_has_to_be_one(name: str):
    form = form_of(name)
    automaton = automaton_of(form, Toolbox(TOOLS))
    assert automaton.walk(automaton.start, b"It is < 3 [deg] warm.").can_end
    before = "" if not form.trigger else "So "
    wrong = before + write_calls(form, (ToolCall("1", "unknown", "{}"),))
    assert automaton.walk(automaton.start, wrong.encode()).is_dead


def test_a_schema_that_is_no_grammar_leaves_the_arguments_free():
    tool = Tool("f", parameters={"properties": {"x": {"not": {}}}})
    automaton = automaton_of(HERMES, Toolbox((tool,), "required"))
    said = write_calls(HERMES, (ToolCall("1", "f", '{"x": [1]}'),))
    assert automaton.walk(automaton.start, said.encode()).can_end


def test_a_template_without_tools_lists_them_in_the_system_prompt_and_says_so():
    template = ChatTemplate(NO_TOOLS_TEMPLATE)
    turns = [
        ChatMessage("system", "Be brief."),
        QUESTION,
        ChatMessage("assistant", "", calls=BOTH[:1]),
        ChatMessage("tool", "21", call_id="abcdefgh1"),
        ChatMessage("user", "And now?"),
    ]
    text = template.render(turns, tools=TOOLS)
    assert text.startswith("<|system|>Be brief.\n\nYou may call functions")
    assert '{"name": "weather", "description": "Tells it.", "parameters": {' in text
    assert write_calls(HERMES, BOTH[:1]) in text
    assert "<|user|><tool_response>\n21\n</tool_response><|end|>\n<|user|>And now?" in text
    assert template.notes == [
        "the model's chat template knows no tools: they are listed in the system prompt"
    ]


def test_a_template_with_tools_gets_them_and_nothing_is_said():
    template = ChatTemplate(TEMPLATES["objects in tags"])
    text = template.render([QUESTION], tools=TOOLS)
    assert text.startswith("<tools>")
    assert '"name": "weather"' in text
    assert template.notes == []
    assert "tools" not in ChatTemplate(TEMPLATES["objects in tags"]).render([QUESTION])


def test_results_are_turns_of_their_own_with_the_name_of_the_tool():
    source = TEMPLATES["objects in tags"].replace(
        "<|{{ message.role }}|>", "<|{{ message.role }}|>{{ message.name }}:"
    )
    turn = ChatMessage("tool", "21", call_id="abcdefgh1", tool_name="weather")
    assert "<|tool|>weather:21" in ChatTemplate(source).render([QUESTION, turn], tools=TOOLS)


def test_ids_are_nine_letters_where_a_template_wants_that():
    check = "{% if message.tool_calls and message.tool_calls[0].id|length != 9 %}{{ raise_exception('9!') }}{% endif %}"
    source = TEMPLATES["a list of objects with ids"].replace(
        "{% if message.tool_calls %}", check + "{% if message.tool_calls %}"
    )
    template = ChatTemplate(source)
    calls = (ToolCall("call_1234567890", "now", "{}"),)
    text = template.render([QUESTION, ChatMessage("assistant", "", calls=calls)], tools=TOOLS)
    assert "call_1234567890" not in text


HEADERS = (
    "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>",
    " to=functions.weather<|channel|>commentary json<|message|>",
)


@pytest.mark.parametrize("header", HEADERS)
def test_gpt_oss_calls_in_a_channel_of_its_own(header: str):
    reader = AnswerReader(HARMONY, "<|start|>assistant", HARMONY_CALLS, TOOLS)
    said = f'<|channel|>analysis<|message|>Hm<|end|><|start|>assistant{header}{{"city": "x"}}'
    parts = AnswerParts()
    for piece in re.split(r"(<\|\w+\|>)", said):
        is_mark = piece.startswith("<|")
        parts += reader.add("" if is_mark else piece, piece if is_mark else "")
    parts += reader.finish()
    assert (parts.text, parts.thought, reader.call_n) == ("", "Hm", 1)
    assert parts.calls[0].name == "weather"
    assert "".join(one.arguments for one in parts.calls) == '{"city": "x"}'


def test_gpt_oss_answers_without_calls_are_as_before():
    reader = AnswerReader(HARMONY, "<|start|>assistant", HARMONY_CALLS, TOOLS)
    parts = reader.add("<|channel|>final<|message|>Yes, <b>") + reader.finish()
    assert (parts.text, parts.calls) == ("Yes, <b>", ())
