"""`/v1/messages` and `/v1/responses`: answers as blocks and items, whole and streamed."""

import pytest

from tests.serve.served import Json, Server

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}


def asking(text: Json = "think call", **fields: Json) -> Json:
    return {"max_tokens": 4, "messages": [{"role": "user", "content": text}], **fields}


def test_a_message_has_blocks_of_thought_text_and_calls(scripted: Server) -> None:
    body = scripted.ask(MESSAGES, asking()).json
    assert body["content"] == [
        {"type": "thinking", "thinking": "think call ", "signature": ""},
        {"type": "text", "text": "think call "},
        {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}},
    ]
    assert (body["type"], body["role"], body["model"]) == ("message", "assistant", "script")
    assert body["id"].startswith("msg_")
    assert (body["stop_reason"], body["stop_sequence"]) == ("tool_use", None)
    assert body["usage"] == {
        "input_tokens": 2,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "output_tokens": 4,
    }
    assert scripted.ask(MESSAGES, asking("one")).json["stop_reason"] == "max_tokens"


def test_a_stream_of_a_message_opens_and_closes_every_block_in_its_order(scripted: Server) -> None:
    start, *events, delta, stop = scripted.stream(MESSAGES, asking())
    assert start["type"] == "message_start"
    assert start["message"]["content"] == []
    assert start["message"]["usage"]["input_tokens"] == 2
    kinds = [
        event["type"].removeprefix("content_block_")
        for event in events
        if event["type"] != "content_block_delta"
    ]
    assert kinds == ["start", "stop"] * 3
    assert [event["index"] for event in events] == sorted(event["index"] for event in events)
    starts = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert starts == ["thinking", "text", "tool_use"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(one.get("thinking", "") for one in deltas) == "think call "
    assert "".join(one.get("text", "") for one in deltas) == "think call "
    assert "".join(one.get("partial_json", "") for one in deltas) == '{"at":1}'
    assert delta["type"] == "message_delta"
    assert delta["delta"]["stop_reason"] == "tool_use"
    assert delta["usage"]["output_tokens"] == 4
    assert stop == {"type": "message_stop"}


def test_systems_results_of_tools_and_thoughts_are_read(scripted: Server) -> None:
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sunny"}]}
    failed = {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "what"}, {"type": "text", "text": "is"}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, call]},
        {"role": "user", "content": [result, failed, {"type": "text", "text": "well"}]},
    ]
    body = {"system": [{"type": "text", "text": "be"}], "messages": turns, "tools": [TOOL], "max_tokens": 20}
    text = scripted.ask(MESSAGES, body).json["content"][0]["text"]
    assert text.startswith("be what is sunny Error: no well be ")
    counted = scripted.ask("/v1/messages/count_tokens", body).json
    assert counted == {"input_tokens": len("be what\nis  sunny Error: no well")}


def test_what_changes_with_every_request_of_one_program_does_not_reach_the_model(scripted: Server) -> None:
    def text(stamp: str) -> str:
        system = f"x-anthropic-billing-header: cc_version=2; cch={stamp};You help."
        body = scripted.ask(MESSAGES, asking("one", system=system, max_tokens=6)).json
        return str(body["content"][0]["text"])

    assert (
        text("a5145")
        == text("ef01a")
        == "x-anthropic-billing-header: cc_version=2; cch=0;You help. one x-anthropic-billing-header: "
    )


def test_tools_that_others_would_run_are_left_out(scripted: Server) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    assert scripted.ask(MESSAGES, asking(tools=tools)).status == 200
    assert scripted.ask(MESSAGES, asking(tools=tools, tool_choice={"type": "any"})).status == 400
    assert (
        scripted.ask(
            MESSAGES, asking(tools=[*tools, {**TOOL, "type": "custom"}], tool_choice={"type": "any"})
        ).status
        == 200
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"messages": None}, "`messages` is missing"),
        ({"messages": []}, "`messages` is empty"),
        ({"messages": [{"role": "king", "content": "a"}]}, "'king'"),
        ({"messages": [{"role": "user"}]}, "`messages[0].content` is missing"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "images"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "a",
                                "content": [{"type": "image", "source": {}}],
                            }
                        ],
                    }
                ]
            },
            "`messages[0].content[0].content[0].type` is 'image'",
        ),
        ({"thinking": {"type": "always"}}, "'always'"),
        ({"thinking": {"type": "enabled", "budget_tokens": -1}}, "-1"),
        ({"tool_choice": {"type": "any"}}, "`tools` is empty"),
        ({"tool_choice": {"type": "tool", "name": "b"}, "tools": [TOOL]}, "'b'"),
        ({"tool_choice": "auto"}, "not an object"),
        ({"stop_sequences": 3}, "`stop_sequences`"),
        ({"max_tokens": "many"}, "`max_tokens`"),
    ],
)
def test_a_wrong_field_of_a_message_is_named_in_anthropics_form(
    scripted: Server, fields: Json, said: str
) -> None:
    reply = scripted.ask(MESSAGES, asking(**fields))
    assert reply.status == 400
    assert reply.json["type"] == "error"
    assert reply.error["type"] == "invalid_request_error"
    assert said in reply.error["message"]


def test_an_unknown_model_has_anthropics_form_too(scripted: Server) -> None:
    reply = scripted.ask(MESSAGES, asking(model="scrpt"))
    assert reply.status == 404
    assert reply.error["type"] == "not_found_error"
    assert "did you mean script" in reply.error["message"]


@pytest.mark.parametrize("path", [RESPONSES, "/responses"])
def test_a_response_has_items_of_thought_text_and_calls(scripted: Server, path: str) -> None:
    body = scripted.ask(path, {"input": "think call", "max_output_tokens": 4}).json
    thought, message, call = body["output"]
    assert (thought["type"], thought["content"][0]["text"]) == ("reasoning", "think call ")
    assert (message["type"], message["role"], message["status"]) == ("message", "assistant", "completed")
    assert message["content"] == [
        {"type": "output_text", "text": "think call ", "annotations": [], "logprobs": []}
    ]
    assert (call["type"], call["call_id"], call["name"], call["arguments"]) == (
        "function_call",
        "c1",
        "look",
        '{"at":1}',
    )
    assert [item["id"][:3] for item in body["output"]] == ["rs_", "msg", "fc_"]
    assert (body["object"], body["status"], body["error"]) == ("response", "completed", None)
    assert body["usage"]["output_tokens"] == 4
    cut = scripted.ask(path, {"input": "one"}).json
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_a_stream_of_a_response_numbers_its_events_and_names_its_items(scripted: Server) -> None:
    events = scripted.stream(RESPONSES, {"input": "think call", "max_output_tokens": 4})
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:2] == ["created", "in_progress"]
    assert kinds[-1] == "completed"
    added = {
        event["item"]["id"]: event["output_index"] for event in events if "output_item.added" in event["type"]
    }
    for event in events:
        if "item_id" in event:
            assert added[event["item_id"]] == event["output_index"]
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    arguments = "".join(event["delta"] for event in events if "arguments.delta" in event["type"])
    response = events[-1]["response"]
    assert [item["id"] for item in response["output"]] == list(added)
    assert response["output"][1]["content"][0]["text"] == text == "think call "
    assert response["output"][2]["arguments"] == arguments == '{"at":1}'
    assert events[-1]["timings"]["predicted_n"] == 4


def test_items_of_a_conversation_are_read(scripted: Server) -> None:
    items = [
        {"role": "user", "content": "hi"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "there"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]},
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "sunny"},
    ]
    tools = [{"type": "function", "name": "look", "parameters": {}}, {"type": "web_search"}]
    body = {"instructions": "be", "input": items, "tools": tools, "max_output_tokens": 20}
    message = scripted.ask(RESPONSES, body).json["output"][0]
    assert message["content"][0]["text"].startswith("be hi there yes sunny be ")
    counted = scripted.ask("/v1/responses/input_tokens", body).json
    assert counted == {"object": "response.input_tokens", "input_tokens": len("be hi there yes sunny")}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{"type": "dance"}]}, "input[0].type"),
        ({"input": [{"role": "king", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"text": {"format": {"type": "sound"}}}, "text.format.type"),
        ({"tool_choice": "dance"}, "tool_choice"),
        ({"reasoning": "much"}, "reasoning"),
    ],
)
def test_a_wrong_field_of_a_response_is_named(scripted: Server, fields: Json, param: str) -> None:
    reply = scripted.ask(RESPONSES, {"input": "a", **fields})
    assert reply.status == 400
    assert reply.error["param"] == param
