"""Messages and tools as OpenAI's chats have them."""

import json
from typing import Final, cast

from edgespec.chat.messages import ChatMessage, Role
from edgespec.chat.thinking import Thinking
from edgespec.chat.tools import NO_TOOLS, Tool, Toolbox, ToolCall
from edgespec.errors import UsageError
from edgespec.serve.errors import ApiError, invalid
from edgespec.serve.fields import Fields

_ROLES: Final = {"developer": "system", "function": "tool"}
"""Names that other versions of the protocol have."""
_KNOWN: Final = ("system", "user", "assistant", "tool")
_MOST_MESSAGES: Final = 10_000
_MEDIA: Final = (
    "image",
    "image_url",
    "input_image",
    "input_audio",
    "input_video",
    "audio",
    "video",
    "file",
    "input_file",
)


def read_messages(fields: Fields) -> tuple[ChatMessage, ...]:
    """The turns of `messages`, the oldest first.

    Raises:
        ApiError: names the message and its field.
    """
    if not fields.has("messages"):
        raise fields.missing("messages")
    messages = tuple(_read_message(one) for one in fields.each("messages"))
    if not messages:
        raise invalid("messages", "is empty; it needs one message at least")
    if len(messages) > _MOST_MESSAGES:
        raise invalid("messages", f"has {len(messages)} turns; the most are {_MOST_MESSAGES}")
    return messages


def _read_message(one: Fields) -> ChatMessage:
    role = one.needed_text("role")
    role = _ROLES.get(role, role)
    if role not in _KNOWN:
        raise invalid(one.name("role"), f"is {role!r:.40}; it can be {', '.join(_KNOWN)} or developer")
    calls = read_calls(one) if role == "assistant" else ()
    if not (one.has("content") or calls or (role == "assistant" and "content" in one.values)):
        raise one.missing("content")
    return ChatMessage(
        cast(Role, role),
        read_content(one, "content"),
        thought=one.text(one.any_of("reasoning_content", "reasoning") or "reasoning_content") or "",
        calls=calls,
        call_id=one.text("tool_call_id") or "",
        tool_name=(one.text("name") or "") if role == "tool" else "",
    )


def read_content(one: Fields, key: str) -> str:
    """A text, or the texts of parts with a line each.

    Raises:
        ApiError: a part is no text; only texts can be read.
    """
    value = one.values.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list):
        raise one.wrong(key, "a string or an array of parts")
    return "\n".join(part.needed_text(_text_key(part)) for part in one.each(key))


def _text_key(part: Fields) -> str:
    kind = part.needed_text("type")
    if kind in ("text", "input_text", "output_text"):
        return "text"
    if kind == "refusal":
        return "refusal"
    if kind in _MEDIA:
        raise invalid(
            part.name("type"), f"is {kind!r}: images, sounds and files cannot be read here; send text"
        )
    raise invalid(part.name("type"), f"is {kind!r:.40}; only text parts can be read")


def read_calls(one: Fields) -> tuple[ToolCall, ...]:
    """The calls of an answer."""
    found = []
    for call in one.each("tool_calls"):
        function = call.inside("function")
        if function is None:
            raise call.missing("function")
        arguments = function.values.get("arguments")
        if isinstance(arguments, dict):
            arguments = json.dumps(arguments)
        if not isinstance(arguments, str | None):
            raise function.wrong("arguments", "a string")
        found.append(ToolCall(call.text("id") or "", function.needed_text("name"), arguments or "{}"))
    return tuple(found)


def read_toolbox(fields: Fields) -> Toolbox:
    """`tools`, `tool_choice` and `parallel_tool_calls`.

    Raises:
        ApiError: names the tool and its field.
    """
    for old, new in (("functions", "tools"), ("function_call", "tool_choice")):
        if fields.has(old):
            raise invalid(old, f"is of OpenAI's older form; send `{new}`")
    tools = tuple(_read_tool(one) for one in fields.each("tools"))
    parallel = fields.flag("parallel_tool_calls", True)
    choice = fields.values.get("tool_choice")
    match choice:
        case {"type": "allowed_tools"}:
            return read_allowed(fields, tools, parallel)
        case None | "auto":
            return Toolbox(tools, parallel=parallel) if tools else NO_TOOLS
        case "none":
            return Toolbox(tools, "none", parallel=parallel) if tools else NO_TOOLS
        case "required" | "any":
            return required(tools, "", parallel)
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return required(tools, name, parallel)
        case _:
            raise fields.wrong("tool_choice", "auto, none, required or an object that names a function")


def read_allowed(fields: Fields, tools: tuple[Tool, ...], parallel: bool) -> Toolbox:
    """A `tool_choice` that names some of the tools, which alone may be called.

    Chats have the names and the mode one object deeper than responses.

    Raises:
        ApiError: names the field, or a tool that is none of them.
    """
    choice = fields.inside("tool_choice")
    assert choice is not None
    inside = choice.inside("allowed_tools") or choice
    names = [(one.inside("function") or one).needed_text("name") for one in inside.each("tools")]
    for name in names:
        if all(tool.name != name for tool in tools):
            raise invalid(inside.name("tools"), f"names {name!r:.60}, which is not in `tools`")
    allowed = tuple(tool for tool in tools if tool.name in names)
    match inside.text("mode") or "auto":
        case "auto":
            return Toolbox(allowed, parallel=parallel) if allowed else NO_TOOLS
        case "required":
            return required(allowed, "", parallel)
        case other:
            raise invalid(inside.name("mode"), f"is {other!r:.40}; it can be auto or required")


def required(tools: tuple[Tool, ...], only: str, parallel: bool) -> Toolbox:
    """Tools of which one has to be called, or this one.

    Raises:
        ApiError: there is no such tool.
    """
    if not tools:
        raise invalid("tool_choice", "wants a call, and `tools` is empty")
    if only and all(tool.name != only for tool in tools):
        raise invalid("tool_choice", f"names {only!r:.60}, which is not in `tools`")
    return Toolbox(tools, "required", only, parallel)


def _read_tool(one: Fields) -> Tool:
    kind = one.text("type") or "function"
    if kind != "function":
        raise invalid(one.name("type"), f"is {kind!r:.40}; only functions can be called")
    function = one.inside("function")
    if function is None:
        raise one.missing("function")
    return read_function(function, "parameters")


def read_function(function: Fields, key: str) -> Tool:
    """A function: its name, description, and the schema of its arguments under a key."""
    name = function.needed_text("name")
    if not name:
        raise invalid(function.name("name"), "is empty")
    schema = function.inside(key)
    return Tool(name, function.text("description") or "", schema.values if schema else {})


def read_thinking(fields: Fields) -> tuple[Thinking, dict[str, object]]:
    """How the model is to think, and the variables of its template: `reasoning_effort` and `chat_template_kwargs`.

    Raises:
        ApiError: names the field.
    """
    kwargs = fields.inside("chat_template_kwargs")
    variables = dict(kwargs.values) if kwargs else {}
    think = "auto"
    switch = variables.get("enable_thinking")
    if switch is not None:
        if not isinstance(switch, bool):
            raise invalid("chat_template_kwargs.enable_thinking", f"is {switch!r:.40}, not a boolean")
        think = "on" if switch else "off"
    effort = fields.text("reasoning_effort")
    if effort == "none":
        think = "off"
    elif effort:
        variables["reasoning_effort"] = effort
    key = fields.any_of("reasoning_budget_tokens", "thinking_budget_tokens")
    budget = fields.whole(key, -1) if key else None
    return make_thinking(think, None if budget == -1 else budget), variables


def make_thinking(think: str, budget: int | None) -> Thinking:
    """How the model is to think.

    Raises:
        ApiError: the budget is out of its range.
    """
    try:
        return Thinking(think, budget)  # type: ignore[arg-type]
    except UsageError as error:
        raise ApiError(
            400, f"{error.message}; {error.hint}", "thinking_budget_tokens", "invalid_value"
        ) from None


def continues(fields: Fields, messages: tuple[ChatMessage, ...]) -> bool:
    """Whether the last message is an answer that goes on: as llama-server has it, every answer that stands last does.

    Raises:
        ApiError: it cannot go on.
    """
    generates, goes_on = fields.flag("add_generation_prompt"), fields.flag("continue_final_message")
    if generates and goes_on:
        raise invalid("continue_final_message", "cannot go with `add_generation_prompt`")
    last = messages[-1]
    if last.role != "assistant" or generates:
        if goes_on:
            raise invalid("continue_final_message", "needs an assistant's message at the end")
        return False
    if len(messages) > 1 and messages[-2].role == "assistant":
        raise invalid("messages", "ends with two of the assistant's; only one can go on")
    if last.calls:
        if goes_on:
            raise invalid("continue_final_message", "cannot go on with a message that calls tools")
        return False
    return True
