"""The turns of Anthropic's messages: blocks of text, thoughts, calls and their results, and a system prompt beside them."""

import json
import re
from typing import Final

from edgespec.chat.messages import ChatMessage
from edgespec.chat.tools import ToolCall
from edgespec.serve.errors import invalid
from edgespec.serve.fields import Fields

_STAMP: Final = re.compile(r"(x-anthropic-billing-header:[^\n]*?\bcch=)[0-9a-f]+(?=;)")
"""The stamp that some agents put into the first words of their system prompt: it changes with every request, and nothing behind it could
be held for the next turn (llama.cpp PR 21793)."""
_MEDIA: Final = ("image", "document", "container_upload")
_LEFT_OUT: Final = ("redacted_thinking",)


def read_turns(fields: Fields) -> tuple[ChatMessage, ...]:
    """The system prompt and the turns, the oldest first.

    Raises:
        ApiError: names the turn and its field.
    """
    if not fields.has("messages"):
        raise fields.missing("messages")
    turns: list[ChatMessage] = []
    system = _STAMP.sub(r"\g<1>0", _read_texts(fields, "system"))
    if system:
        turns.append(ChatMessage("system", system))
    names: dict[str, str] = {}
    before = len(turns)
    for one in fields.each("messages"):
        match one.needed_text("role"):
            case "user":
                turns += _read_user(one, names)
            case "assistant":
                answer = _read_assistant(one)
                names |= {call.id: call.name for call in answer.calls}
                turns.append(answer)
            case "system":
                turns.append(ChatMessage("system", _read_texts(one, "content")))
            case other:
                raise invalid(one.name("role"), f"is {other!r:.40}; it can be user or assistant")
    if len(turns) == before:
        raise invalid("messages", "is empty; it needs one message at least")
    return tuple(turns)


def _read_texts(fields: Fields, key: str) -> str:
    """A text, or blocks of text with a line each."""
    value = fields.values.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    return "\n".join(_text(block) for block in fields.each(key))


def _text(block: Fields) -> str:
    kind = block.needed_text("type")
    if kind in _MEDIA:
        raise invalid(block.name("type"), f"is {kind!r}: images and documents cannot be read here; send text")
    if kind != "text":
        raise invalid(block.name("type"), f"is {kind!r:.40}; only text can stand here")
    return block.needed_text("text")


def _read_user(one: Fields, names: dict[str, str]) -> list[ChatMessage]:
    """A question, and the results of calls, each a turn of its own in their order."""
    value = one.values.get("content")
    if value is None:
        raise one.missing("content")
    if isinstance(value, str):
        return [ChatMessage("user", value)]
    turns: list[ChatMessage] = []
    texts: list[str] = []
    for block in one.each("content"):
        if block.needed_text("type") == "tool_result":
            turns += _question(texts)
            call_id = block.needed_text("tool_use_id")
            result = _read_texts(block, "content")
            if block.flag("is_error"):
                result = f"Error: {result}"
            turns.append(ChatMessage("tool", result, call_id=call_id, tool_name=names.get(call_id, "")))
        else:
            texts.append(_text(block))
    return [*turns, *_question(texts)]


def _question(texts: list[str]) -> list[ChatMessage]:
    """The texts that have come, as one turn; they are taken."""
    found = [ChatMessage("user", "\n".join(texts))] if texts else []
    texts.clear()
    return found


def _read_assistant(one: Fields) -> ChatMessage:
    value = one.values.get("content")
    if value is None:
        raise one.missing("content")
    if isinstance(value, str):
        return ChatMessage("assistant", value)
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for block in one.each("content"):
        match block.needed_text("type"):
            case "thinking":
                thoughts.append(block.needed_text("thinking"))
            case "tool_use":
                given = block.inside("input")
                arguments = json.dumps(given.values if given else {})
                calls.append(ToolCall(block.needed_text("id"), block.needed_text("name"), arguments))
            case kind if kind in _LEFT_OUT:
                pass
            case _:
                texts.append(_text(block))
    return ChatMessage("assistant", "\n".join(texts), "\n\n".join(thoughts), tuple(calls))
