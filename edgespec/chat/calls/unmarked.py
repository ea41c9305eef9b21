"""Calls that are JSON and nothing else: small models leave out the marks of their notation.

The template of Qwen2.5-Coder 1.5B shows a call in doubled braces, as a template of another kind would write it, and the model copies them.
"""

import json
import re
from collections.abc import Collection
from typing import Any, Final

from edgespec.chat.tools import ToolCall

FENCE: Final = "```"
_OPENINGS: Final = ("", FENCE, f"{FENCE}json")
_BEGIN: Final = re.compile(rf"\s*(?:{FENCE}(?:json)?\s*)?")
_CLOSINGS: Final = (re.compile(""), re.compile(r"\s*\}"))
"""What is left of a call behind its object: nothing, or the second of doubled braces."""
_ARGUMENTS: Final = ("arguments", "parameters")
"""The keys of a call's arguments, as models write them."""
_DECODER: Final = json.JSONDecoder(strict=False)


def may_begin_call(text: str, names: Collection[str]) -> bool:
    """Whether a text begins as a call of one of the tools does, or may once more of it is there.

    Args:
        text: From its beginning, however little.
        names: Of the tools.
    """
    written = "".join(text.split())
    keys = [f'"name":"{name}"' for name in names] + [f'"{key}":' for key in _ARGUMENTS]
    heads = (f"{fence}{braces}{key}" for fence in _OPENINGS for braces in ("{", "{{") for key in keys)
    return any(written[: len(head)] == head[: len(written)] for head in heads)


def read_call(text: str, names: Collection[str]) -> tuple[ToolCall, int] | None:
    """The call that a text begins with, without an id, and where it ends; None where none is whole.

    Args:
        text: From its beginning.
        names: Of the tools; an object that names none of them is no call.
    """
    begin = _BEGIN.match(text)
    assert begin is not None
    is_doubled = text.startswith("{{", begin.end())
    try:
        read, end = _DECODER.raw_decode(text, begin.end() + is_doubled)
    except (ValueError, RecursionError):
        return None
    call, closing = _as_call(read, names), _CLOSINGS[is_doubled].match(text, end)
    return (call, closing.end()) if call and closing else None


def _as_call(read: Any, names: Collection[str]) -> ToolCall | None:
    name = read.get("name") if isinstance(read, dict) else None
    arguments = next((read[key] for key in _ARGUMENTS if key in read), None) if name else None
    if not isinstance(name, str) or name not in names or not isinstance(arguments, dict):
        return None
    return ToolCall("", name, json.dumps(arguments, ensure_ascii=False))
