"""Tools through the Python API: calls apart from the text, in the model's own notation."""

import json
from pathlib import Path

import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.chat.tools import Tool, Toolbox, ToolCall
from edgespec.decode.token import Token
from edgespec.llama.sampler import Sampling
from edgespec.session import open_pair
from tests.chat.call_templates import NO_TOOLS_TEMPLATE, TEMPLATES
from tests.scripted_model import TEMPLATE, make_scripted_model
from tests.session.eager import draft_eagerly
from tests.tiny import TinyShape, make_tiny_model

SCHEMA = {
    "properties": {
        "city": {"enum": ["Rome", "Oslo"]},
        "days": {"type": "integer", "maximum": 9, "minimum": 0},
    }
}
TOOLS = (
    Tool("weather", "Tells it.", {**SCHEMA, "required": ["city"]}),
    Tool("now", "The time.", {"properties": {}}),
)
HERMES_TEMPLATE = TEMPLATES["objects in tags"].replace("<|", "<").replace("|>", ">")
CALL = (
    "<tool_call>",
    "\n",
    '{"name": "weather"',
    ', "arguments": ',
    '{"city": "',
    "Rome",
    '"',
    "}}",
    "\n</tool_call>",
)


def parts(tokens: list[Token]) -> tuple[str, list[tuple[str, str]]]:
    calls: dict[int, tuple[str, str]] = {}
    for delta in (delta for token in tokens for delta in token.calls):
        name, arguments = calls.get(delta.index, ("", ""))
        calls[delta.index] = name + delta.name, arguments + delta.arguments
    return "".join(token.text for token in tokens), list(calls.values())


@pytest.mark.parametrize("control", [(), ("<tool_call>",)], ids=["text", "control"])
@pytest.mark.parametrize("draft", ["none", "ngram"])
def test_a_call_is_apart_from_the_text(tmp_path: Path, draft: str, control: tuple[str, ...]) -> None:
    script = ("Let", " me", " see.", *CALL)
    path = make_scripted_model(tmp_path / "m.gguf", script, control=control, chat_template=HERMES_TEMPLATE)
    with open_pair(path, draft) as session:
        tokens = list(session.stream("Warm?", toolbox=Toolbox(TOOLS)))
        assert parts(tokens) == ("Let me see.", [("weather", '{"city": "Rome"}')])
        # Without tools, and where none is to be called, it is text.
        for toolbox in (Toolbox(), Toolbox(TOOLS, "none")):
            text, calls = parts(list(session.stream("Warm?", toolbox=toolbox)))
            assert calls == []
            assert '{"name": "weather", "arguments": {"city": "Rome"}}' in text


def test_a_call_behind_a_thought(tmp_path: Path) -> None:
    script = ("<think>", "Hm", "</think>", "\n\n", *CALL)
    template = HERMES_TEMPLATE + "{# <think> #}"
    path = make_scripted_model(tmp_path / "m.gguf", script, chat_template=template)
    with open_pair(path, "none") as session:
        tokens = list(session.stream("Warm?", toolbox=Toolbox(TOOLS, "required")))
        assert "".join(token.thought for token in tokens) == "Hm"
        assert parts(tokens) == ("", [("weather", '{"city": "Rome"}')])


@pytest.fixture(scope="module", params=sorted(TEMPLATES))
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tools") / "m.gguf"
    return make_tiny_model(path, chat_template=TEMPLATES[request.param], tokenizer="bpe")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_random_weights_call_a_tool_rightly_where_they_have_to(
    tiny: Path, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft_eagerly(monkeypatch)
    toolbox = Toolbox(TOOLS, "required", only="weather", parallel=False)
    answers = []
    for draft in ("none", "ngram"):
        with open_pair(tiny, draft) as session:
            sampling = Sampling(temperature=temperature, seed=5)
            tokens = list(session.stream("x", toolbox=toolbox, sampling=sampling, max_tokens=250))
            answers.append([token.id for token in tokens])
            text, ((name, arguments),) = parts(tokens)
            assert (text.strip(), name, session.stats.stopped) == ("", "weather", "eog")
            read = json.loads(arguments)
            assert read["city"] in ("Rome", "Oslo")
            assert 0 <= read.get("days", 0) <= 9
    assert answers[0] == answers[1]


def test_a_conversation_with_calls_and_results_goes_on_without_a_template_for_them(tmp_path: Path) -> None:
    shape = TinyShape(context=2048)
    path = make_tiny_model(tmp_path / "m.gguf", shape=shape, chat_template=NO_TOOLS_TEMPLATE, tokenizer="bpe")
    turns = [
        ChatMessage("user", "Warm?"),
        ChatMessage("assistant", "", calls=(ToolCall("1", "weather", '{"city": "Rome"}'),)),
        ChatMessage("tool", "21", call_id="1"),
    ]
    with open_pair(path, "none") as session:
        assert list(session.stream(turns, toolbox=Toolbox(TOOLS), max_tokens=5))
        assert session.notes == [
            "the model's chat template knows no tools: they are listed in the system prompt"
        ]


def test_tools_have_no_effect_without_a_template_and_that_is_said(tmp_path: Path) -> None:
    path = make_scripted_model(tmp_path / "m.gguf", ("a", "b"), chat_template=TEMPLATE)
    with open_pair(path, "none") as session:
        assert parts(list(session.stream("<assistant>", toolbox=Toolbox(TOOLS), raw=True))) == ("ab", [])
        assert session.notes == ["tools are not offered: no chat template is used"]
