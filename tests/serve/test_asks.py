"""What requests become: values for the engine."""

import json

import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.chat.structure import Structure, StructureKind
from edgespec.chat.thinking import Thinking
from edgespec.chat.tools import NO_TOOLS, Tool, Toolbox, ToolCall
from edgespec.llama.sampling_wish import SamplingWish
from edgespec.serve.chat import read_chat
from edgespec.serve.errors import ApiError
from edgespec.serve.fields import Fields
from edgespec.serve.response_items import read_tools
from edgespec.serve.wishes import TextBias, read_wishes
from edgespec.session.shared.asked import Ask

HI = {"role": "user", "content": "hi"}
LOOK = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}},
}
LOOKING = Tool("look", "Looks.", {"type": "object"})


def read(*messages: object, **fields: object) -> Ask:
    return read_chat(Fields({"messages": list(messages) or [HI], **fields}))


def test_a_request_that_says_nothing_is_answered_greedily_and_to_its_end() -> None:
    ask = read()
    assert ask.prompt == (ChatMessage("user", "hi"),)
    assert ask.sampling == SamplingWish(seed=ask.sampling.seed)
    assert (ask.max_tokens, ask.n_choices, ask.stops, ask.logprobs_n) == (None, 1, (), None)
    assert (ask.structure, ask.toolbox, ask.thinking, ask.continues) == (None, NO_TOOLS, Thinking(), False)
    assert len({read().sampling.seed for _ in range(8)}) > 1


def test_the_sampling_has_the_names_of_both_protocols() -> None:
    given = {
        "temperature": 0.5,
        "top_k": 7,
        "top_p": 0.5,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": -0.3,
        "repeat_last_n": 9,
        "seed": 5,
    }
    assert read(**given).sampling == SamplingWish(**given)  # type: ignore[arg-type]
    assert read(top_k=-1).sampling.top_k == 0
    assert read(seed=2**64).sampling.seed == 2**64 % (2**32 - 1)
    for limit in ("max_completion_tokens", "max_tokens", "n_predict"):
        assert read(**{limit: 9}).max_tokens == 9
        assert read(**{limit: -1}).max_tokens is None
    assert read(max_tokens=9, max_completion_tokens=5).max_tokens == 5
    assert read(stop="a").stops == ("a",)
    assert read(stop=["a", "", "b"], ignore_eos=True, n=3).stops == ("a", "b")


def test_biases_have_the_forms_of_both_protocols() -> None:
    forms = {"5": 1, "6": -100, "word": 2}, [[5, 1], [6, False], ["word", 2]]
    for bias in forms:
        wishes = read_wishes(Fields({"logit_bias": bias}))
        assert wishes.logit_bias == ((5, 1.0), (6, float("-inf")))
        assert wishes.text_bias == (TextBias("word", 2.0),)


def test_what_the_answer_looks_like_is_said_in_many_ways() -> None:
    schema = {"type": "integer"}
    whole = Structure(StructureKind.SCHEMA, json.dumps(schema))
    for form in (
        {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
        {"type": "json_schema", "schema": schema},
        {"type": "json_object", "schema": schema},
    ):
        assert read(response_format=form).structure == whole
    assert read(json_schema=schema).structure == whole
    assert read(response_format={"type": "json_object"}).structure == Structure(StructureKind.JSON)
    assert read(response_format={"type": "text"}).structure is None
    assert read(grammar="root ::= [a]").structure == Structure(StructureKind.GBNF, "root ::= [a]")


def test_tools_and_which_of_them_is_to_be_called() -> None:
    tools = (LOOKING,)
    for choice, box in (
        (None, Toolbox(tools)),
        ("auto", Toolbox(tools)),
        ("none", Toolbox(tools, "none")),
        ("required", Toolbox(tools, "required")),
        ({"type": "function", "function": {"name": "look"}}, Toolbox(tools, "required", "look")),
    ):
        assert read(tools=[LOOK], tool_choice=choice).toolbox == box
    assert read(tools=[LOOK], parallel_tool_calls=False).toolbox == Toolbox(tools, parallel=False)
    assert read(tools=[]).toolbox == NO_TOOLS
    with pytest.raises(ApiError, match="cannot go with `tools`"):
        read(tools=[LOOK], grammar="root ::= [a]")


def test_calls_and_their_results_keep_their_ids() -> None:
    function = {"name": "look", "arguments": '{"at": 1}'}
    answer = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    result = {
        "role": "tool",
        "tool_call_id": "c",
        "name": "look",
        "content": [{"type": "text", "text": "sun"}],
    }
    turns = read(HI, answer | {"reasoning_content": "hm"}, result).prompt
    assert turns[1:] == (
        ChatMessage("assistant", "", "hm", (ToolCall("c", "look", '{"at": 1}'),)),
        ChatMessage("tool", "sun", call_id="c", tool_name="look"),
    )


def test_thinking_is_asked_for_in_the_ways_of_llama_server() -> None:
    assert read(reasoning_effort="none").thinking == Thinking("off")
    assert read(reasoning_effort="high").template_variables == {"reasoning_effort": "high"}
    assert read(chat_template_kwargs={"enable_thinking": True, "x": 1}).thinking == Thinking("on")
    assert read(chat_template_kwargs={"enable_thinking": True, "x": 1}).template_variables["x"] == 1
    assert read(thinking_budget_tokens=50).thinking == Thinking("auto", 50)
    assert read(reasoning_budget_tokens=-1).thinking == Thinking()


def test_an_answer_that_stands_last_goes_on() -> None:
    begun = {"role": "assistant", "content": "Once"}
    calling = {"role": "assistant", "tool_calls": [{"function": {"name": "look"}}]}
    assert read(HI, begun).continues
    assert read(HI, begun, add_generation_prompt=False, continue_final_message=True).continues
    assert not read(HI, begun, add_generation_prompt=True).continues
    assert not read(HI, begun, HI).continues
    assert not read(HI, calling).continues
    with pytest.raises(ApiError, match="calls tools"):
        read(HI, calling, continue_final_message=True)


OTHER = {"type": "function", "function": {"name": "other"}}


def allowing(mode: str, *names: str) -> dict[str, object]:
    named = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}}


def test_only_some_of_the_tools_may_be_allowed() -> None:
    assert read(tools=[LOOK, OTHER], tool_choice=allowing("auto", "look")).toolbox == Toolbox((LOOKING,))
    required = read(tools=[LOOK, OTHER], tool_choice=allowing("required", "look")).toolbox
    assert required == Toolbox((LOOKING,), "required")
    assert read(tools=[LOOK], tool_choice=allowing("auto")).toolbox == NO_TOOLS
    flat = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "look"}]}
    functions = [{"type": "function", **LOOK["function"]}, {"type": "function", **OTHER["function"]}]  # type: ignore[dict-item]
    fields = Fields({"input": "a", "tools": functions, "tool_choice": flat})
    assert read_tools(fields) == Toolbox((LOOKING,), "required")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [LOOK], "tool_choice": allowing("auto", "other")}, "tool_choice.allowed_tools.tools"),
        ({"tools": [LOOK], "tool_choice": allowing("often", "look")}, "tool_choice.allowed_tools.mode"),
        ({"functions": [LOOK["function"]]}, "functions"),
        ({"function_call": {"name": "look"}}, "function_call"),
    ],
)
def test_tools_that_make_no_sense_are_named(fields: dict[str, object], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        read(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)
