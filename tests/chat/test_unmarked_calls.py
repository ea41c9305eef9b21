"""Calls that small models write as JSON and nothing else, told from JSON that is an answer."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgespec.chat.answers import AnswerReader
from edgespec.chat.calls.form import HERMES, CallForm
from edgespec.chat.calls.reader import CallReader
from edgespec.chat.marks import KNOWN_MARKS
from edgespec.chat.structure import Structure, StructureKind
from edgespec.chat.template import ChatTemplate
from edgespec.chat.thinking import ChatPrompt
from edgespec.chat.tools import Tool, Toolbox
from tests.chat.call_templates import TEMPLATES

TOOLS = (Tool("weather"), Tool("now"))
CALL = '{"name": "weather", "arguments": {"city": "Rome \\"old\\""}}'
DOUBLED = f"{{{CALL}}}"
"""As the template of Qwen2.5-Coder 1.5B shows a call."""
ROME = ("weather", {"city": 'Rome "old"'})
NOW: tuple[str, dict[str, str]] = ("now", {})
CUTS = st.lists(st.integers(0, 300), max_size=12)
TAGGED = ChatTemplate(TEMPLATES["arguments in tags"]).call_form


def read(
    text: str, cuts: Sequence[int] = (), form: CallForm = HERMES, **options: Any
) -> tuple[str, list[tuple[str, Any]]]:
    """Its text, and the calls, each of them whole."""
    reader = CallReader(form, TOOLS, **options)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    parts = [*(reader.add(text[start:end]) for start, end in pairwise(places)), reader.finish()]
    names, arguments = dict[int, str](), dict[int, str]()
    for delta in (delta for one in parts for delta in one.calls):
        assert bool(delta.id) is bool(delta.name)
        names[delta.index] = names.get(delta.index, "") + delta.name
        arguments[delta.index] = arguments.get(delta.index, "") + delta.arguments
    assert reader.call_n == len(names)
    return "".join(one.text for one in parts), [(names[n], json.loads(arguments[n])) for n in names]


@pytest.mark.parametrize(
    ("text", "calls", "rest"),
    [
        (CALL, [ROME], ""),
        (f"\n {CALL}\n", [ROME], ""),
        (f"```json\n{CALL}\n```", [ROME], ""),
        (f"```\n{CALL}\n```\n", [ROME], ""),
        ('{"arguments": {}, "name": "now"}', [NOW], ""),
        ('{"name": "now", "parameters": {}}', [NOW], ""),
        ('{"name": "weather", "arguments": {"city": "a\nb"}}', [("weather", {"city": "a\nb"})], ""),
        (f'{CALL}\n{{"name": "now", "arguments": {{}}}}', [ROME, NOW], ""),
        (f'```json\n{CALL}\n{{"name": "now", "arguments": {{}}}}\n```', [ROME, NOW], ""),
        (f"```json\n{CALL}\n```\n```json\n{CALL}\n```", [ROME, ROME], ""),
        (f"{CALL}\n\nIt is warm.", [ROME], "It is warm."),
        (f'{CALL}\n{{"answer": 3}}', [ROME], '{"answer": 3}'),
        (f"{CALL}\n<tool_call>\n{CALL}\n</tool_call>", [ROME, ROME], ""),
        (DOUBLED, [ROME], ""),
        (f"```json\n{DOUBLED}\n```", [ROME], ""),
        (f'{DOUBLED}\n{{{{"name": "now", "arguments": {{}}}} }}\nNow.', [ROME, NOW], "Now."),
        (f"<tool_call>\n{DOUBLED}\n</tool_call>\n<tool_call>\n{CALL}\n</tool_call>", [ROME, ROME], ""),
        ("<tool_call>\n" + '{{"arguments": {}, "name": "now"}}' + "\n</tool_call>", [NOW], ""),
    ],
)
@settings(max_examples=30)
@given(cuts=CUTS)
def test_json_that_an_answer_begins_with_is_a_call_of_a_tool_that_there_is(
    text: str, calls: list[tuple[str, Any]], rest: str, cuts: list[int]
) -> None:
    assert read(text, cuts) == (rest, calls)


@pytest.mark.parametrize(
    "text",
    [
        f"Like this: {CALL}",
        f"Like this:\n```json\n{CALL}\n```",
        f"```python\n{CALL}\n```",
        f"[{CALL}]",
        CALL.replace("weather", "another"),
        DOUBLED.replace("weather", "another"),
        f"{{{CALL}",
        f"{{{CALL}, 3}}",
        CALL.replace("weather", "weather2"),
        '{"name": "weather"}',
        '{"name": "weather", "arguments": "Rome"}',
        '{"name": "weather", "arguments": {"city": \'Rome\'}}',
        '{"name": "weather", "arguments": {"city": "Rome"}',
        '{"name": ["weather"], "arguments": {}}',
        '{"arguments": {"name": "weather"}}',
        '{"weather": {"city": "Rome"}}',
        "```json\n[1, 2]\n```",
        '{"name": "weather", "arguments": ' + '{"a":' * 5000,
        "{",
        "```",
        "",
        " \n",
    ],
)
@settings(max_examples=30)
@given(cuts=CUTS)
def test_any_other_json_is_the_answer_to_its_last_character(text: str, cuts: list[int]) -> None:
    assert read(text, cuts) == (text, [])


def test_json_that_can_be_no_call_is_told_as_it_comes() -> None:
    reader = CallReader(HERMES, TOOLS)
    assert reader.add('{"na').text == ""
    assert reader.add('me": "we').text == ""
    assert reader.add('b"').text == '{"name": "web"'
    assert reader.add(', "').text == ', "'
    assert CallReader(HERMES, TOOLS).add("```py").text == "```py"


def test_where_one_call_is_allowed_what_comes_behind_it_is_text() -> None:
    assert read(f"{CALL}\n{CALL}", form=replace(HERMES, single=True)) == (CALL, [ROME])


def test_other_notations_are_left_out_as_well() -> None:
    assert read(CALL, form=TAGGED) == ("", [ROME])


def test_a_call_behind_a_thought_begins_the_answer() -> None:
    reader = AnswerReader(KNOWN_MARKS[0], "", HERMES, TOOLS)
    parts = reader.add(f"<think>\nThe weather.\n</think>\n\n{CALL}") + reader.finish()
    assert (parts.text, parts.thought, reader.call_n) == ("", "The weather.", 1)
    thinking = AnswerReader(KNOWN_MARKS[0], "", HERMES, TOOLS)
    parts = thinking.add(f"<think>\n{CALL}\n</think>\nNo.") + thinking.finish()
    assert (parts.text, thinking.call_n) == ("No.", 0)


def test_nothing_is_a_call_where_no_tool_is_offered_or_the_answer_has_to_be_json() -> None:
    template = ChatTemplate(TEMPLATES["objects in tags"])
    prompt = ChatPrompt("", [], template, Toolbox(TOOLS))
    for asked, text in (
        (prompt, ""),
        (replace(prompt, toolbox=Toolbox()), CALL),
        (replace(prompt, toolbox=Toolbox(TOOLS, "none")), CALL),
        (replace(prompt, structure=Structure(StructureKind.JSON, "")), CALL),
    ):
        reader = asked.make_reader()
        assert (reader.add(CALL) + reader.finish()).text == text


def test_two_calls_are_one_and_a_text_where_they_may_not_come_together() -> None:
    template = ChatTemplate(TEMPLATES["objects in tags"])
    reader = ChatPrompt("", [], template, Toolbox(TOOLS, parallel=False)).make_reader()
    parts = reader.add(f"{CALL}\n{CALL}") + reader.finish()
    assert (parts.text, reader.call_n) == (CALL, 1)
