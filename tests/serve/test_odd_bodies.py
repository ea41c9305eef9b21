"""Bodies with anything in them, to every route that takes one: an answer or a refusal in the protocol's form, and the engine goes on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.odd_documents import changed
from tests.serve.served import Reply, Server
from tests.tiny import CHAT_TEMPLATE, TinyShape, make_tiny_model

CALL = {"id": "call1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "code": {"type": "string", "pattern": "^[a-c]+$"},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", 1, None]}, "minItems": 1, "maxItems": 2},
        "other": {"$ref": "#/$defs/other"},
    },
    "required": ["name"],
    "$defs": {"other": {"anyOf": [{"type": "null"}, {"const": True}]}},
}
FUNCTION = {"name": "look", "description": "Looks.", "parameters": SCHEMA}
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "What is at 1?"}]},
    {"role": "assistant", "content": "", "reasoning_content": "Hm.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call1", "name": "look", "content": "a cat"},
    {"role": "user", "content": "the cat"},
]
SAMPLING = {
    **{"temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.01, "seed": 3},
    **{"repeat_penalty": 1.1, "repeat_last_n": 8, "presence_penalty": 0.1, "frequency_penalty": 0.1},
    **{"logit_bias": {"5": -1.5, "cat": 2}, "stop": ["zzz"], "ignore_eos": False, "max_tokens": 3},
}
CHAT = {
    **{"model": "tiny", "messages": TURNS, **SAMPLING},
    **{
        "stream": False,
        "stream_options": {"include_usage": True},
        "n": 1,
        "logprobs": True,
        "top_logprobs": 2,
    },
    **{"chat_template_kwargs": {"enable_thinking": False, "x": [1]}, "reasoning_effort": "low"},
    **{"thinking_budget_tokens": 2, "timings_per_token": False, "parallel_tool_calls": True},
}
WITH_TOOLS = {
    **CHAT,
    **{"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": {"function": {"name": "look"}}},
}
STRUCTURED = {
    **CHAT,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": SCHEMA, "strict": True},
    },
}
TEXT = {
    **SAMPLING,
    "prompt": ["the cat", [5, 6], "hat"],
    "logprobs": 1,
    "echo": False,
    "best_of": 1,
    "suffix": None,
}
NATIVE = {
    **SAMPLING,
    **{
        "logit_bias": [[5, -1.5], ["cat", False]],
        "prompt": [5, "cat", 6],
        "n_predict": 3,
        "n_probs": 1,
        "return_tokens": True,
        "json_schema": SCHEMA,
    },
}
ITEMS = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
    {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]},
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
    {"role": "user", "content": "the cat"},
]
RESPONSE = {
    **{"input": ITEMS, "instructions": "Hm.", "max_output_tokens": 3, "temperature": 0.5, "top_p": 0.9},
    **{"tools": [{"type": "function", **FUNCTION}], "tool_choice": "auto", "metadata": {"a": "b"}},
    **{"text": {"format": {"type": "text"}}, "reasoning": {"effort": "low"}, "stream": False},
}
BLOCKS = [
    {"role": "user", "content": [{"type": "text", "text": "What is at 1?"}]},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": ""},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "a cat"}]},
]
MESSAGE = {
    **{"messages": BLOCKS, "system": [{"type": "text", "text": "Be brief."}], "max_tokens": 3},
    **{
        "tools": [{"name": "look", "description": "Looks.", "input_schema": SCHEMA}],
        "tool_choice": {"type": "auto"},
    },
    **{"stop_sequences": ["zzz"], "thinking": {"type": "enabled", "budget_tokens": 2}, "stream": False},
    **{"temperature": 0.5, "top_k": 5, "top_p": 0.9, "metadata": {"user_id": "x"}},
}
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", WITH_TOOLS),
    ("/v1/chat/completions", STRUCTURED),
    ("/v1/chat/completions/input_tokens", WITH_TOOLS),
    ("/v1/completions", TEXT),
    ("/completion", NATIVE),
    ("/v1/responses", RESPONSE),
    ("/v1/responses/input_tokens", RESPONSE),
    ("/v1/messages", MESSAGE),
    ("/v1/messages/count_tokens", MESSAGE),
    ("/v1/embeddings", {"input": ["the cat"], "model": "tiny", "encoding_format": "float"}),
    ("/tokenize", {"content": "the cat", "add_special": True, "with_pieces": True}),
    ("/detokenize", {"tokens": [5, 6]}),
    ("/apply-template", {"messages": TURNS}),
]
"""Every route that takes a body, with one that is right."""
ENCODINGS = st.sampled_from(["ascii", "utf-8", "utf-8", "utf-16", "utf-32-le"])
"""Of JSON, which Python's reader finds out."""
FAST = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = make_tiny_model(
        tmp_path_factory.mktemp("odd") / "tiny.gguf",
        chat_template=CHAT_TEMPLATE,
        shape=TinyShape(context=1024),
    )
    one = Server(model, "--draft", "none", "-t", "1", "-np", "2").wait_ready()
    yield one
    one.close()


def strictly(text: str) -> Any:
    """JSON as every program reads it: without NaN and Infinity."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def encoded(body: Any, encoding: str) -> bytes:
    """A body as a caller may write it: numbers beyond all floats are JSON, and so is half of a pair, escaped or not."""
    text = json.dumps(body, ensure_ascii=encoding == "ascii").replace("Infinity", "1e999")
    return text.encode(encoding, "surrogatepass")


def check_reply(path: str, reply: Reply) -> None:
    assert reply.status == 200 or 400 <= reply.status < 500 or reply.status == 501, (reply.status, reply.body)
    text = reply.body.decode()
    if reply.headers["content-type"].startswith("text/event-stream"):
        for line in text.splitlines():
            if line.startswith("data: ") and line != "data: [DONE]":
                strictly(line.removeprefix("data: "))
        return
    document = strictly(text)
    if reply.status == 200:
        assert "error" not in document or document["error"] is None
    else:
        error = document["error"]
        assert isinstance(error["message"], str) and error["message"]
        assert isinstance(error["type"], str)
        if path.startswith("/v1/messages"):
            assert document["type"] == "error"
        else:
            assert {"param", "code"} <= error.keys()


def check_unharmed(server: Server, engine: int) -> None:
    assert [one.pid for one in server.engines()] == [engine]
    reply = server.ask("/v1/completions", {"prompt": "the cat", "max_tokens": 2})
    assert reply.status == 200


def test_the_sound_ones_are_answered(server: Server) -> None:
    for path, body in BODIES:
        reply = server.ask(path, body)
        check_reply(path, reply)
        wanted = 400 if path == "/v1/embeddings" else 200
        assert reply.status == wanted, (path, reply.body)


@pytest.mark.parametrize("streams", [False, True])
def test_any_body_is_answered_or_refused_and_the_engine_lives(server: Server, streams: bool) -> None:
    (engine,) = server.engines()

    @FAST
    @example(("/v1/responses", {**RESPONSE, "metadata": {"a": "\ud800"}}), "utf-8")
    @example(("/v1/responses", {**RESPONSE, "metadata": {"a": float("inf")}}), "ascii")
    @example(("/v1/chat/completions", {**CHAT, "model": "\ud800"}), "utf-16")
    @example(("/completion", {**NATIVE, "logit_bias": [[2**31, 1]]}), "ascii")
    @given(
        st.sampled_from(BODIES).flatmap(lambda one: st.tuples(st.just(one[0]), changed(one[1]))), ENCODINGS
    )
    def check(asked: tuple[str, Any], encoding: str) -> None:
        path, body = asked
        if streams and isinstance(body, dict) and "stream" in body:
            body["stream"] = True
        reply = server.ask(path, data=encoded(body, encoding))
        check_reply(path, reply)

    check()
    check_unharmed(server, engine.pid)


@settings(FAST, max_examples=200)
@given(asked=st.sampled_from(BODIES), end=st.integers(0, 1500), more=st.binary(max_size=8))
def test_any_bytes_are_answered_or_refused(
    server: Server, asked: tuple[str, dict[str, Any]], end: int, more: bytes
) -> None:
    path, body = asked
    data = json.dumps(body).encode()
    check_reply(path, server.ask(path, data=data[:end] + more + data[end:]))
