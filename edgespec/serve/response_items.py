"""The items of a request to `/v1/responses`, as the turns of a conversation."""

from dataclasses import replace
from typing import Final, cast

from edgespec.chat.messages import ChatMessage, Role
from edgespec.chat.tools import NO_TOOLS, Tool, Toolbox, ToolCall
from edgespec.serve.conversation import read_allowed, read_content, read_function, required
from edgespec.serve.errors import invalid
from edgespec.serve.fields import Fields

_ROLES: Final = {"developer": "system", "system": "system", "user": "user", "assistant": "assistant"}


def read_items(fields: Fields) -> tuple[ChatMessage, ...]:
    """`instructions` and `input`, the oldest turn first.

    Raises:
        ApiError: names the item and its field.
    """
    if not fields.has("input"):
        raise fields.missing("input")
    turns: list[ChatMessage] = []
    if instructions := fields.text("instructions"):
        turns.append(ChatMessage("system", instructions))
    if isinstance(fields.values["input"], str):
        return (*turns, ChatMessage("user", fields.needed_text("input")))
    before = len(turns)
    for item in fields.each("input"):
        _add_item(turns, item)
    if len(turns) == before:
        raise invalid("input", "is empty; it needs one item at least")
    return tuple(turns)


def _add_item(turns: list[ChatMessage], item: Fields) -> None:
    match item.text("type") or "message":
        case "message":
            role = item.needed_text("role")
            if role not in _ROLES:
                raise invalid(item.name("role"), f"is {role!r:.40}; it can be {', '.join(_ROLES)}")
            turn = ChatMessage(cast(Role, _ROLES[role]), read_content(item, "content"))
            if role == "assistant":
                _add_to_answer(turns, turn)
            else:
                turns.append(turn)
        case "function_call":
            call = ToolCall(
                item.needed_text("call_id"), item.needed_text("name"), item.text("arguments") or "{}"
            )
            _add_to_answer(turns, ChatMessage("assistant", "", calls=(call,)))
        case "function_call_output":
            call_id = item.needed_text("call_id")
            called = (call for turn in turns for call in turn.calls if call.id == call_id)
            name = next((call.name for call in called), "")
            turns.append(ChatMessage("tool", read_content(item, "output"), call_id=call_id, tool_name=name))
        case "reasoning":
            _add_to_answer(turns, ChatMessage("assistant", "", _thought_of(item)))
        case other:
            raise invalid(item.name("type"), f"is {other!r:.40}, which cannot be read here")


def _thought_of(item: Fields) -> str:
    return "\n\n".join(part.text("text") or "" for part in item.each("content"))


def _add_to_answer(turns: list[ChatMessage], more: ChatMessage) -> None:
    """Thought, text and calls of one answer are items of their own, and one turn."""
    last = turns[-1] if turns else None
    if last is None or last.role != "assistant" or (last.content and more.content):
        turns.append(more)
        return
    turns[-1] = replace(
        last,
        content=last.content + more.content,
        thought=last.thought + more.thought,
        calls=last.calls + more.calls,
    )


def read_tools(fields: Fields) -> Toolbox:
    """`tools`, `tool_choice` and `parallel_tool_calls`; tools that a server would run itself are left out.

    Raises:
        ApiError: names the tool and its field.
    """
    tools: tuple[Tool, ...] = tuple(
        read_function(one, "parameters") for one in fields.each("tools") if one.text("type") == "function"
    )
    parallel = fields.flag("parallel_tool_calls", True)
    match fields.values.get("tool_choice"):
        case {"type": "allowed_tools"}:
            return read_allowed(fields, tools, parallel)
        case None | "auto":
            return Toolbox(tools, parallel=parallel) if tools else NO_TOOLS
        case "none":
            return Toolbox(tools, "none", parallel=parallel) if tools else NO_TOOLS
        case "required":
            return required(tools, "", parallel)
        case {"type": "function", "name": str(name)}:
            return required(tools, name, parallel)
        case _:
            raise fields.wrong("tool_choice", "auto, none, required or an object that names a function")
