"""The `openai` package against `edgespec serve`: tools."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.scripted_model import make_scripted_model
from tests.serve.served import Server
from tests.tiny import make_tiny_model

TOOL_TEMPLATE = (
    "{% if tools %}You may call functions inside <tools></tools>:\n<tools>"
    "{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>\n"
    'Answer with <tool_call>\n{"name": NAME, "arguments": OBJECT}\n</tool_call>\n{% endif %}'
    "{% for message in messages %}<{{ message.role }}>{{ message.content or '' }}"
    "{% if message.tool_calls %}{% for call in message.tool_calls %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}{% endif %}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""In the form that Hermes and Qwen have for calls."""
QUESTION: list[Any] = [{"role": "user", "content": "the cat and the hat"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "enum": ["Rome", "Oslo"]}},
            "required": ["place"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def server(tiny_folder: Path, tiny_draft: Path) -> Iterator[Server]:
    target = make_tiny_model(tiny_folder / "tiny-tools.gguf", chat_template=TOOL_TEMPLATE)
    one = Server(target, "--draft", tiny_draft, "-t", "1", "-np", "4", "-c", "4096")
    yield one.wait_ready()
    one.close()


def test_a_tool_is_called_whole_and_in_pieces_and_its_result_goes_back(client: openai.OpenAI) -> None:
    asked: Any = {
        "model": "tiny-tools",
        "messages": QUESTION,
        "tools": [WEATHER],
        "tool_choice": "required",
        "max_tokens": 200,
        "temperature": 0,
    }
    answer = client.chat.completions.create(**asked).choices[0]
    assert answer.finish_reason == "tool_calls"
    call: Any = (answer.message.tool_calls or [])[0]
    assert call.function.name == "weather"
    place = json.loads(call.function.arguments)["place"]
    assert place in ("Rome", "Oslo")
    with client.chat.completions.stream(**asked) as stream:
        streamed: Any = (stream.get_final_completion().choices[0].message.tool_calls or [])[0]
    assert streamed.function.name == "weather"
    assert json.loads(streamed.function.arguments) == {"place": place}
    again = client.chat.completions.create(
        model="tiny-tools",
        messages=[
            *QUESTION,
            answer.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ],
        tools=[WEATHER],
        tool_choice="none",
        max_tokens=8,
    )
    assert again.choices[0].message.tool_calls is None


def test_a_tool_can_be_named(client: openai.OpenAI) -> None:
    other: Any = {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}
    answer = client.chat.completions.create(
        model="tiny-tools",
        messages=QUESTION,
        tools=[other, WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        max_tokens=200,
        temperature=0,
    )
    calls: Any = answer.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["weather"]


UNMARKED = ('{"name": "weather",', ' "arguments": ', '{"place": ', '"Rome"}', "}")


@pytest.mark.parametrize("script", [UNMARKED, ("```json\n", *UNMARKED, "\n```")], ids=["bare", "fenced"])
def test_a_call_without_its_marks_is_one_where_tools_are_offered(
    script: Sequence[str], tmp_path: Path, start: Callable[..., Server]
) -> None:
    path = make_scripted_model(tmp_path / "unmarked.gguf", script, chat_template=TOOL_TEMPLATE)
    server = start(path, "--draft", "none", "-t", "1", "-c", "2048").wait_ready()
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0
    ) as client:
        asked: Any = {"model": "unmarked", "messages": QUESTION, "temperature": 0, "max_tokens": 50}
        answer = client.chat.completions.create(**asked, tools=[WEATHER]).choices[0]
        assert (answer.finish_reason, answer.message.content) == ("tool_calls", None)
        [call] = answer.message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"place": "Rome"})
        with client.chat.completions.stream(**asked, tools=[WEATHER]) as stream:
            streamed: Any = (stream.get_final_completion().choices[0].message.tool_calls or [])[0]
        assert json.loads(streamed.function.arguments) == {"place": "Rome"}
        nothing_offered: tuple[Any, ...] = ({}, {"tools": [WEATHER], "tool_choice": "none"})
        for options in nothing_offered:
            plain = client.chat.completions.create(**asked, **options).choices[0]
            assert (plain.finish_reason, plain.message.content) == ("stop", "".join(script))
            assert not plain.message.tool_calls
