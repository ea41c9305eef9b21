"""Writes what a template leaves out of tools: their list, earlier calls, and results."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgespec.chat.calls.form import KEY, NUMBER, WILD, CallForm, TaggedArguments
from edgespec.chat.messages import ChatMessage
from edgespec.chat.tools import Tool, ToolCall


def tool_values(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Tools as templates get them, in OpenAI's form."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters) or {"type": "object", "properties": {}},
            },
        }
        for tool in tools
    ]


def arguments_of(call: ToolCall) -> Any:
    """The arguments of a call as values; those that are no JSON object as they are written."""
    try:
        read = json.loads(call.arguments or "{}")
    except ValueError:
        return call.arguments
    return read if isinstance(read, dict) else call.arguments


def write_calls(form: CallForm, calls: Sequence[ToolCall]) -> str:
    """Calls as the model itself would write them."""
    written = []
    for number, call in enumerate(calls):
        arguments = arguments_of(call)
        if form.arguments is not None and isinstance(arguments, Mapping):
            said = _write_tagged(form.arguments, arguments)
        else:
            said = (
                json.dumps(arguments, ensure_ascii=False)
                if isinstance(arguments, Mapping)
                else call.arguments
            )
        text = f"{form.start}{call.name}{form.middle}{said}{form.end}"
        written.append(text.replace(WILD, call.id).replace(NUMBER, str(number)))
    return form.opening + form.separator.join(written) + form.closing


def _write_tagged(marks: TaggedArguments, arguments: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for name, value in arguments.items():
        is_text = isinstance(value, str)
        said = value if is_text else json.dumps(value, ensure_ascii=False)
        mark, ending = (marks.text_mark, marks.text_end) if is_text else (marks.value_mark, marks.value_end)
        before = marks.between if parts else marks.first
        parts.append(f"{before}{name}{mark}{said}{ending.replace(KEY, name)}")
    return "".join(parts) or marks.opening


def list_tools(tools: Sequence[Tool], form: CallForm) -> str:
    """What a system prompt says of tools, where the template says nothing of them."""
    listed = "\n".join(json.dumps(one["function"], ensure_ascii=False) for one in tool_values(tools))
    example = write_calls(form, [ToolCall("0", "NAME", '{"ARGUMENT": "VALUE"}')])
    return (
        "You may call functions to help with the question. These are there, each as JSON with a schema of its arguments:\n"
        f"{listed}\n"
        f"To call one, write this and nothing else, with its name and its arguments:\n{example}"
    )


def fold_tools(
    messages: Sequence[ChatMessage], form: CallForm, *, calls: bool, results: bool
) -> list[ChatMessage]:
    """A conversation without what a template cannot show: earlier calls in the text of their turns, results as the user's.

    Args:
        messages: The oldest first.
        form: How the model writes calls.
        calls: Put calls into texts.
        results: Put results into the user's turns.
    """
    folded: list[ChatMessage] = []
    for message in messages:
        if message.calls and calls:
            text = "\n".join(part for part in (message.content, write_calls(form, message.calls)) if part)
            folded.append(ChatMessage("assistant", text, message.thought))
        elif message.role == "tool" and results:
            text = f"<tool_response>\n{message.content}\n</tool_response>"
            if folded and folded[-1].role == "user":
                folded[-1] = ChatMessage("user", f"{folded[-1].content}\n{text}")
            else:
                folded.append(ChatMessage("user", text))
        else:
            folded.append(message)
    return folded
