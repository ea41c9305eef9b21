"""The whole server on tiny models: the command, its engine process, and what callers get."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgespec.session import open_pair
from edgespec.session.settings import EngineSettings
from tests.serve.served import Json, Server, wait_for

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ENGINE = ("-t", "1")


@pytest.fixture(scope="module")
def server(tiny_model: Path, tiny_draft: Path) -> Iterator[Server]:
    """A server of a pair, for all tests that leave it as it is."""
    one = Server(tiny_model, "--draft", tiny_draft, *ENGINE, "-np", "4")
    yield one.wait_ready()
    one.close()


def asking(text: str = "once upon a time", **fields: Json) -> Json:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 24, **fields}


def test_an_answer_is_that_of_a_session_whole_and_streamed(
    server: Server, tiny_model: Path, tiny_draft: Path
) -> None:
    with open_pair(tiny_model, tiny_draft, settings=EngineSettings(n_threads=1), offline=True) as session:
        wanted = "".join(token.text for token in session.stream("once upon a time", max_tokens=24))
    body = server.ask(CHAT, asking()).json
    assert body["choices"][0]["message"]["content"] == wanted
    assert body["usage"]["completion_tokens"] == 24
    assert body["timings"]["draft_n"] > 0
    assert body["timings"]["speculation"]
    events = server.stream(CHAT, asking())[:-1]
    streamed = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert streamed == wanted


def test_many_callers_get_what_each_would_get_alone(server: Server) -> None:
    prompts = [f"story number {number} of {number * 7}" for number in range(8)]
    alone = [
        server.ask(TEXT, {"prompt": one, "max_tokens": 20}).json["choices"][0]["text"] for one in prompts
    ]
    with ThreadPoolExecutor(8) as callers:
        together = list(
            callers.map(
                lambda one: server.ask(TEXT, {"prompt": one, "max_tokens": 20}).json["choices"][0]["text"],
                prompts,
            )
        )
    assert together == alone
    wait_for(lambda: server.processing_n() == 0)


def test_stops_end_an_answer_before_them_and_are_told(server: Server) -> None:
    text = server.ask(TEXT, {"prompt": "once", "max_tokens": 24}).json["choices"][0]["text"]
    stop = text[6:9]
    body = server.ask(TEXT, {"prompt": "once", "max_tokens": 24, "stop": ["never", stop]}).json
    assert body["choices"][0]["text"] == text[: text.index(stop)]
    assert body["choices"][0]["finish_reason"] == "stop"
    native = server.ask("/completion", {"prompt": "once", "n_predict": 24, "stop": [stop]}).json
    assert (native["stop_type"], native["stopping_word"]) == ("word", stop)
    message = {"messages": [{"role": "user", "content": "once"}], "max_tokens": 24}
    whole = server.ask("/v1/messages", message).json["content"][0]["text"]
    body = server.ask("/v1/messages", {**message, "stop_sequences": [whole[3:6]]}).json
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", whole[3:6])


def test_a_seed_makes_a_draw_come_again_and_without_one_it_does_not(server: Server) -> None:
    def draw(**fields: Json) -> list[str]:
        body = {"prompt": "once", "max_tokens": 12, "temperature": 1.5, **fields}
        return [choice["text"] for choice in server.ask(TEXT, body).json["choices"]]

    draw()  # from here on the prompt is held
    assert draw(seed=7) == draw(seed=7) != draw(seed=8)
    assert len({draw()[0] for _ in range(4)}) > 1
    first, second = draw(seed=7, n=2)
    assert first != second


def test_tokens_make_the_answer_that_their_text_makes(server: Server) -> None:
    tokens = server.ask("/tokenize", {"content": "once upon", "add_special": True}).json["tokens"]
    bodies = [server.ask(TEXT, {"prompt": prompt, "max_tokens": 8}).json for prompt in ("once upon", tokens)]
    assert bodies[0]["choices"][0]["text"] == bodies[1]["choices"][0]["text"]
    assert bodies[1]["usage"]["prompt_tokens"] == len(tokens)
    told = server.ask("/detokenize", {"tokens": tokens}).json["content"]
    assert "once upon" in told


def test_a_prompt_that_came_before_is_not_read_again(server: Server) -> None:
    body = {"prompt": "a prompt that comes twice " * 6, "max_tokens": 4}
    first, second = (server.ask(TEXT, body).json for _ in range(2))
    assert second["choices"][0]["text"] == first["choices"][0]["text"]
    usage = second["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= usage["prompt_tokens"] - 1
    assert second["timings"]["cache_n"] + second["timings"]["prompt_n"] == usage["prompt_tokens"]


def test_logprobs_are_those_of_the_target_and_add_up_to_the_text(server: Server) -> None:
    body = server.ask(CHAT, asking(logprobs=True, top_logprobs=3)).json
    content = body["choices"][0]["logprobs"]["content"]
    assert len(content) == 24
    assert (
        b"".join(bytes(one["bytes"]) for one in content).decode("utf-8", "replace")
        == (body["choices"][0]["message"]["content"])
    )
    for one in content:
        assert len(one["top_logprobs"]) == 3
        # Greedy: the likeliest is taken.
        assert one["logprob"] == one["top_logprobs"][0]["logprob"] <= 0


def test_a_bias_forbids_a_token(server: Server) -> None:
    body = {"prompt": "once", "max_tokens": 1, "logprobs": 1, "return_tokens": True}
    first = server.ask("/completion", body | {"n_predict": 1}).json["tokens"][0]
    for bias in ({str(first): -100}, [[first, False]]):
        other = server.ask("/completion", body | {"n_predict": 1, "logit_bias": bias}).json["tokens"][0]
        assert other != first


@pytest.mark.parametrize("path", [CHAT, TEXT, "/v1/messages", "/v1/responses", "/completion"])
@pytest.mark.parametrize("streams", [False, True])
def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(
    server: Server, path: str, streams: bool
) -> None:
    text = "word " * 600
    body = {"prompt": text, "input": text, **asking(text), "stream": streams}
    reply = server.ask(path, body)
    assert reply.status == 400
    assert "512" in reply.error["message"]
    if path != "/v1/messages":
        assert reply.error["code"] == "context_length_exceeded"
        assert reply.error["n_ctx"] == 512 < reply.error["n_prompt_tokens"]


@pytest.mark.parametrize(
    "body",
    [{"prompt": [10**6]}, {"prompt": "a", "logit_bias": {"1000000": 1}}],
    ids=["no token", "a bias of no token"],
)
def test_what_the_engine_refuses_is_said_and_it_lives_on(server: Server, body: Json) -> None:
    reply = server.ask(TEXT, {"max_tokens": 2, **body})
    assert reply.status == 400, reply.body
    assert reply.error["type"] == "invalid_request_error"
    assert server.ask(TEXT, {"prompt": "a", "max_tokens": 2}).status == 200


def test_an_answer_whose_caller_hangs_up_ends_within_a_round(server: Server) -> None:
    before = server.metric("edgespec_predicted_tokens_total")
    with server.streaming(CHAT, asking(max_tokens=450)) as events:
        next(events)
    wait_for(lambda: server.processing_n() == 0)
    assert server.metric("edgespec_predicted_tokens_total") - before < 450


def test_a_place_tells_what_is_written_in_it(server: Server) -> None:
    wait_for(lambda: server.processing_n() == 0)
    with server.streaming(TEXT, {"prompt": "a place that is looked at", "max_tokens": 450}) as events:
        next(events)
        busy, *idle = server.ask("/slots").json
    assert busy["is_processing"]
    assert busy["n_prompt_tokens"] == busy["n_prompt_tokens_cache"] + busy["n_prompt_tokens_processed"]
    assert 0 < busy["next_token"][0]["n_decoded"] <= 450
    assert len(idle) == 3
    assert not any(one["is_processing"] for one in idle)
    wait_for(lambda: server.processing_n() == 0)


def test_a_conversation_is_counted_as_it_is_read(server: Server) -> None:
    turn = {"messages": asking()["messages"]}
    counts = {
        server.ask("/v1/chat/completions/input_tokens", turn).json["input_tokens"],
        server.ask("/v1/messages/count_tokens", turn).json["input_tokens"],
        server.ask("/v1/responses/input_tokens", {"input": "once upon a time"}).json["input_tokens"],
        server.ask(CHAT, asking()).json["usage"]["prompt_tokens"],
    }
    assert len(counts) == 1
    prompt = server.ask("/apply-template", turn).json["prompt"]
    assert "<user>once upon a time" in prompt


FORMS = [
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"const": "42"}}}}, '"42"'),
    ({"response_format": {"type": "json_object", "schema": {"enum": [7]}}}, "7"),
    ({"json_schema": {"const": "foo"}}, '"foo"'),
    ({"grammar": 'root ::= "a"{5,5}'}, "aaaaa"),
]


@pytest.mark.parametrize(("form", "text"), FORMS)
def test_an_answer_has_the_form_that_was_asked_for(server: Server, form: Json, text: str) -> None:
    body = server.ask(CHAT, asking(**form)).json
    assert body["choices"][0]["message"]["content"] == text
    assert body["choices"][0]["finish_reason"] == "stop"
    assert server.ask(TEXT, {"prompt": "once", "max_tokens": 24, **form}).json["choices"][0]["text"] == text
    streamed = server.stream(CHAT, asking(**form))[:-1]
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in streamed) == text


def test_a_response_has_the_form_that_was_asked_for(server: Server) -> None:
    form = {"type": "json_schema", "name": "answer", "schema": {"const": "42"}}
    body = server.ask("/v1/responses", {"input": "once", "text": {"format": form}}).json
    assert body["output"][0]["content"][0]["text"] == '"42"'
    assert body["status"] == "completed"


@pytest.mark.parametrize(
    "wrap", [lambda form: {"output_config": {"format": form}}, lambda form: {"output_format": form}]
)
def test_a_message_has_the_form_that_was_asked_for(server: Server, wrap: Callable[[Json], Json]) -> None:
    form = wrap({"type": "json_schema", "schema": {"const": "42"}})
    body = server.ask("/v1/messages", asking(**form)).json
    assert (body["content"], body["stop_reason"]) == ([{"type": "text", "text": '"42"'}], "end_turn")
    reply = server.ask("/v1/messages", asking(**wrap({"type": "sound"})))
    assert reply.status == 400
    assert "sound" in reply.error["message"]


@pytest.mark.parametrize(
    "form",
    [
        {"grammar": "root ::= this is (no grammar"},
        {"response_format": {"type": "json_object", "schema": {"type": 123}}},
        {"response_format": {"type": "json_object", "schema": {"type": "hiccup"}}},
    ],
)
@pytest.mark.parametrize("streams", [False, True])
def test_a_form_that_is_none_is_refused(server: Server, form: Json, streams: bool) -> None:
    reply = server.ask(CHAT, asking(**form, stream=streams))
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert server.ask(CHAT, asking()).status == 200


SCHEMA = {
    "type": "object",
    "properties": {"day": {"enum": ["today"]}},
    "required": ["day"],
    "additionalProperties": False,
}
FUNCTION = {"name": "weather", "description": "Of a city.", "parameters": SCHEMA}
REQUIRED = {
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": "required",
    "parallel_tool_calls": False,
}


def test_a_tool_that_has_to_be_called_is_called_in_every_protocol(server: Server) -> None:
    body = server.ask(CHAT, asking(max_tokens=150, **REQUIRED)).json
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"day": "today"}
    assert call["id"]
    events = server.stream(CHAT, asking(max_tokens=150, **REQUIRED))[:-1]
    deltas = [one for event in events for one in event["choices"][0]["delta"].get("tool_calls", [])]
    assert deltas[0]["function"]["name"] == "weather"
    assert json.loads("".join(one["function"]["arguments"] for one in deltas)) == {"day": "today"}
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
    tools = [{"name": "weather", "description": "Of a city.", "input_schema": SCHEMA}]
    message = {**asking(max_tokens=150), "tools": tools, "tool_choice": {"type": "any"}}
    body = server.ask("/v1/messages", message).json
    assert body["stop_reason"] == "tool_use"
    block = body["content"][-1]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "weather", {"day": "today"})
    request = {"input": "once", "tools": [{"type": "function", **FUNCTION}], "tool_choice": "required"}
    body = server.ask("/v1/responses", request | {"max_output_tokens": 150}).json
    item = body["output"][-1]
    assert (item["type"], item["name"]) == ("function_call", "weather")
    assert json.loads(item["arguments"]) == {"day": "today"}
    assert body["status"] == "completed"


def test_a_template_may_end_before_the_answer_and_special_tokens_may_be_plain_text(server: Server) -> None:
    whole = server.ask("/apply-template", asking()).json["prompt"]
    assert whole.endswith("<assistant>")
    without = server.ask("/apply-template", asking(add_generation_prompt=False)).json["prompt"]
    assert without == whole.removesuffix("<assistant>")
    begun = [*asking()["messages"], {"role": "assistant", "content": "there was"}]
    goes_on = server.ask("/apply-template", {"messages": begun}).json["prompt"]
    assert goes_on == whole + "there was"
    assert server.ask("/tokenize", {"content": "</s>"}).json["tokens"] == [2]
    plain = server.ask("/tokenize", {"content": "</s>", "parse_special": False}).json["tokens"]
    assert server.ask("/detokenize", {"tokens": plain}).json["content"] == "</s>"
    assert len(plain) > 1


def test_tools_are_a_part_of_what_is_read_and_counted(server: Server) -> None:
    plain = server.ask("/apply-template", asking()).json["prompt"]
    with_tools = server.ask("/apply-template", asking(tools=REQUIRED["tools"])).json["prompt"]
    without = server.ask("/apply-template", asking(tools=REQUIRED["tools"], tool_choice="none")).json[
        "prompt"
    ]
    assert "weather" in with_tools
    assert without == plain
    counted = server.ask("/v1/chat/completions/input_tokens", asking(tools=REQUIRED["tools"])).json[
        "input_tokens"
    ]
    answered = server.ask(CHAT, asking(tools=REQUIRED["tools"], max_tokens=1)).json["usage"]["prompt_tokens"]
    assert counted == answered


def test_the_result_of_a_call_is_read(server: Server) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"day":"today"}'}}
    turns = [
        {"role": "user", "content": "once"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny and warm"},
    ]
    body = {"messages": turns, "tools": REQUIRED["tools"], "max_tokens": 4}
    prompt = server.ask("/apply-template", body).json["prompt"]
    assert "sunny and warm" in prompt
    assert server.ask(CHAT, body).status == 200
