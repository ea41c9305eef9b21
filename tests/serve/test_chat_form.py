"""`/v1/chat/completions`: what is sent back, and what is refused in which words."""

import json

import pytest

from tests.serve.served import Json, Server

CHAT = "/v1/chat/completions"


def asking(text: str = "one two", **fields: Json) -> Json:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 4, **fields}


@pytest.mark.parametrize("path", [CHAT, "/chat/completions"])
def test_an_answer_has_all_that_clients_look_for(scripted: Server, path: str) -> None:
    body = scripted.ask(path, asking()).json
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "script"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "one two one two "},
            "logprobs": None,
            "finish_reason": "length",
        }
    ]
    assert body["usage"] == {
        "prompt_tokens": 2,
        "completion_tokens": 4,
        "total_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    timings = body["timings"]
    assert (timings["prompt_n"], timings["predicted_n"], timings["cache_n"]) == (2, 4, 0)
    assert (timings["draft_n"], timings["draft_n_accepted"]) == (0, 0)
    assert (timings["prompt_ms"], timings["predicted_per_second"]) == (100, 6)
    assert timings["speculation"] == "no draft: a script"


def test_a_stream_begins_with_the_role_and_ends_with_reason_and_mark(scripted: Server) -> None:
    first, *events, last, mark = scripted.stream(CHAT, asking())
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}
    ]
    assert "".join(event["choices"][0]["delta"]["content"] for event in events) == "one two one two "
    assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
    assert last["timings"]["predicted_n"] == 4
    assert mark == "[DONE]"
    whole = [first, *events, last]
    assert len({event["id"] for event in whole}) == 1
    assert {event["object"] for event in whole} == {"chat.completion.chunk"}
    # Clients that did not ask for usage may look at the first choice of every event.
    assert all(event["choices"] and "usage" not in event for event in whole)


def test_usage_of_a_stream_comes_last_where_it_is_wanted(scripted: Server) -> None:
    *events, last, _ = scripted.stream(CHAT, asking(stream_options={"include_usage": True}))
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 4
    assert last["timings"]["predicted_n"] == 4
    assert all("usage" not in event and "timings" not in event for event in events)


def test_thoughts_and_calls_stand_apart_from_the_text(scripted: Server) -> None:
    message = scripted.ask(CHAT, asking("think call")).json["choices"][0]["message"]
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
    assert message == {
        "role": "assistant",
        "content": "think call ",
        "reasoning_content": "think call ",
        "tool_calls": [call],
    }
    events = scripted.stream(CHAT, asking("think call"))
    deltas = [event["choices"][0]["delta"] for event in events if event != "[DONE]"]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "think call "
    assert "".join(delta.get("content") or "" for delta in deltas) == "think call "
    called = [one for delta in deltas for one in delta.get("tool_calls", [])]
    assert called[0]["id"] == "c1"
    assert {one["index"] for one in called} == {0}
    assert "".join(one["function"]["arguments"] for one in called) == '{"at":1}'
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_several_choices_are_told_apart(scripted: Server) -> None:
    body = scripted.ask(CHAT, asking(n=3)).json
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert body["usage"]["completion_tokens"] == 12
    assert body["usage"]["prompt_tokens"] == 2
    events = scripted.stream(CHAT, asking(n=3))[:-1]
    ended = [one["index"] for event in events for one in event["choices"] if one["finish_reason"]]
    assert sorted(ended) == [0, 1, 2]


def test_logprobs_come_with_their_bytes_and_the_likeliest(scripted: Server) -> None:
    body = scripted.ask(CHAT, asking(logprobs=True, top_logprobs=1)).json
    content = body["choices"][0]["logprobs"]["content"]
    entry = {"id": 1, "token": "one ", "bytes": list(b"one "), "logprob": -0.1}
    assert content[0] == {**entry, "top_logprobs": [entry]}
    streamed = scripted.stream(CHAT, asking(logprobs=True))[:-1]
    told = [
        event["choices"][0]["logprobs"]["content"]
        for event in streamed
        if event["choices"][0].get("logprobs")
    ]
    assert [one["token"] for part in told for one in part] == ["one ", "two ", "one ", "two "]
    assert told[0][0]["top_logprobs"] == []


def test_parts_of_a_text_come_with_a_line_each_and_other_names_of_fields_are_known(scripted: Server) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "developer", "content": "zero"}, {"role": "user", "content": parts}]
    for limit in ("max_tokens", "max_completion_tokens", "n_predict"):
        body = scripted.ask(CHAT, {"messages": messages, limit: 3, "frequency": "ignored"}).json
        assert body["choices"][0]["message"]["content"] == "zero one two "


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"messages": None}, "messages", "is missing"),
        ({"messages": "string"}, "messages", "is a string"),
        ({"messages": []}, "messages", "is empty"),
        ({"messages": [123]}, "messages[0]", "is a number"),
        ({"messages": [{}]}, "messages[0].role", "is missing"),
        ({"messages": [{"role": 123, "content": "a"}]}, "messages[0].role", "is a number (123)"),
        ({"messages": [{"role": "king", "content": "a"}]}, "messages[0].role", "'king'"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "is missing"),
        ({"messages": [{"role": "user", "content": 12}]}, "messages[0].content", "is a number (12)"),
        ({"messages": [{"role": "user", "content": "a"}, {}]}, "messages[1].role", "is missing"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
            "images",
        ),
        (
            {"messages": [{"role": one, "content": "a"} for one in ("user", "assistant", "assistant")]},
            "messages",
            "two of the assistant's",
        ),
        ({"temperature": "hot"}, "temperature", 'is a string ("hot"), not a number'),
        ({"temperature": 11}, "temperature", "11"),
        ({"temperature": True}, "temperature", "is a boolean"),
        ({"temperature": 10**400}, "temperature", "is a number"),
        ({"top_p": 0}, "top_p", "0"),
        ({"max_tokens": 0}, "max_tokens", "is 0; it must be 1"),
        ({"max_tokens": 1.5}, "max_tokens", "not a whole number"),
        ({"n": 0}, "n", "is 0; it must be 1 to 128"),
        ({"n": 10**9}, "n", "must be 1 to 128"),
        ({"stream": "yes"}, "stream", "not a boolean"),
        ({"stop": 5}, "stop", "is a number (5)"),
        ({"stop": ["a", 5]}, "stop", "array of strings"),
        ({"seed": "x"}, "seed", "not a number"),
        ({"top_logprobs": 3}, "top_logprobs", "needs `logprobs`"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "0 to 20"),
        ({"logit_bias": 5}, "logit_bias", "object or an array"),
        ({"logit_bias": {"5": "x"}}, "logit_bias", "'x'"),
        ({"logit_bias": [[1]]}, "logit_bias", "pairs"),
        ({"response_format": "json"}, "response_format", "is a string"),
        ({"response_format": {"type": "sound"}}, "response_format.type", "'sound'"),
        (
            {"response_format": {"type": "json_object", "schema": 123}},
            "response_format.schema",
            "JSON schema",
        ),
        ({"response_format": {"type": "json_schema"}}, "response_format.schema", "is missing"),
        (
            {"response_format": {"type": "json_object"}, "grammar": "root ::= [a]"},
            "grammar",
            "response_format",
        ),
        ({"json_schema": {"type": "null"}, "grammar": "root ::= [a]"}, "grammar", "json_schema"),
        ({"tools": "hammer"}, "tools", "is a string"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "is missing"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "'web_search'"),
        ({"tools": [{"function": {"name": ""}}]}, "tools[0].function.name", "is empty"),
        ({"tool_choice": "required"}, "tool_choice", "`tools` is empty"),
        (
            {"tools": [{"function": {"name": "a"}}], "tool_choice": {"function": {"name": "b"}}},
            "tool_choice",
            "'b'",
        ),
        ({"chat_template_kwargs": {"enable_thinking": "no"}}, "chat_template_kwargs.enable_thinking", "'no'"),
        ({"reasoning_effort": 3}, "reasoning_effort", "is a number (3)"),
        ({"thinking_budget_tokens": -5}, "thinking_budget_tokens", "-5"),
        (
            {"add_generation_prompt": True, "continue_final_message": True},
            "continue_final_message",
            "cannot go",
        ),
        ({"continue_final_message": True}, "continue_final_message", "assistant's message"),
        ({"model": 5}, "model", "is a number (5)"),
        ({"stream_options": 5}, "stream_options", "is a number (5)"),
    ],
    ids=lambda value: json.dumps(value)[:50] if isinstance(value, dict) else "",
)
def test_a_wrong_field_is_named(scripted: Server, fields: Json, param: str, said: str) -> None:
    reply = scripted.ask(CHAT, asking(**fields))
    assert reply.status == 400, reply.body
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["param"] == param
    assert said in reply.error["message"]
    assert set(reply.error) == {"message", "type", "param", "code"}


def test_a_wrong_field_of_a_stream_is_refused_before_it_begins(scripted: Server) -> None:
    assert scripted.ask(CHAT, asking(stream=True, seed="x")).status == 400
    assert scripted.ask(CHAT, asking(stream=True, model="nobody")).status == 404


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(scripted: Server, stream: bool) -> None:
    reply = scripted.ask(CHAT, asking("word " * 600, stream=stream))
    assert reply.status == 400
    assert reply.error["code"] == "context_length_exceeded"
    assert (reply.error["n_prompt_tokens"], reply.error["n_ctx"]) == (600, 512)
    assert "600" in reply.error["message"]
    assert "512" in reply.error["message"]


def test_null_is_as_good_as_nothing_and_half_a_character_does_no_harm(scripted: Server) -> None:
    fields = (
        "temperature",
        "stop",
        "seed",
        "n",
        "tools",
        "tool_choice",
        "response_format",
        "logit_bias",
        "stream",
    )
    assert scripted.ask(CHAT, asking(**dict.fromkeys(fields))).status == 200
    body = b'{"max_tokens": 2, "messages": [{"role": "user", "content": "a \\ud800 b"}]}'
    reply = scripted.ask(CHAT, data=body)
    assert reply.json["choices"][0]["message"]["content"] == "a \ufffd "


def test_a_bias_of_a_text_is_taken_apart_first(scripted: Server) -> None:
    for bias in ({"hello": -100, "5": 3}, [["hello", False], [5, 1.5]]):
        assert scripted.ask(CHAT, asking(logit_bias=bias)).status == 200


def test_a_conversation_can_be_counted(scripted: Server) -> None:
    for path in ("/v1/chat/completions/input_tokens", "/chat/completions/input_tokens"):
        assert scripted.ask(path, asking("four")).json == {
            "object": "response.input_tokens",
            "input_tokens": 4,
        }
