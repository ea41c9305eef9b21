"""How one kind of model writes tool calls."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from edgespec.chat.marks import HARMONY_ARGUMENTS, HARMONY_CALL, HARMONY_CALL_END

WILD: Final = "\x00"
"""In the texts of a form: an id."""
NUMBER: Final = "\x02"
"""Likewise the number of the call, from 0 or 1."""
KEY: Final = "\x01"
"""In the text behind a value: the argument's name once more."""
_TAG: Final = re.compile(r"<[^<>\s=]+>|\[[A-Z_]+\]")


@dataclass(frozen=True, slots=True)
class TaggedArguments:
    """Arguments that are written one by one: name, value, and something around both."""

    first: str
    """Before the first name."""
    between: str
    """Before the others."""
    text_mark: str
    """Between a name and a text."""
    value_mark: str
    """Between a name and any other value, which is JSON."""
    text_end: str
    value_end: str

    @property
    def opening(self) -> str:
        """What stands there without any arguments."""
        return self.first.removesuffix(self.between)


@dataclass(frozen=True)
class CallForm:
    """The texts around calls: `opening (start NAME middle ARGUMENTS end) separator (...) closing`."""

    opening: str
    start: str
    middle: str
    arguments: TaggedArguments | None
    """None for a JSON object."""
    end: str
    separator: str = ""
    closing: str = ""
    single: bool = False
    """One call at most in an answer."""
    aliases: tuple[str, ...] = field(default=())
    """Marks that may stand before a call and say nothing."""

    @cached_property
    def trigger(self) -> str:
        """The text that no answer begins by chance; empty where a call is JSON and nothing else."""
        whole = (self.opening + self.start).lstrip()
        found = _TAG.match(whole)
        if found:
            return found[0]
        head = re.split(f"[{WILD}{NUMBER}]", whole)[0]
        return head if head.startswith("<") else re.split(r"[{\[]", head)[0].rstrip()

    @cached_property
    def keys(self) -> tuple[str, str] | None:
        """The keys of name and arguments, where a call is a JSON object; an empty name's key where the name is the key itself."""
        if self.arguments is not None:
            return None
        named = re.search(r'\{[^{}]*"(\w+)"\s*:\s*"$', self.start)
        given = re.fullmatch(r'"\s*,\s*"(\w+)"\s*:\s*', self.middle)
        if named and given:
            return named[1], given[1]
        if re.search(r'\{\s*"$', self.start) and re.fullmatch(r'"\s*:\s*', self.middle):
            return "", ""
        return None

    @property
    def texts(self) -> tuple[str, ...]:
        """All of its texts, whose control tokens are text to whoever reads calls."""
        marks = self.arguments
        more = (marks.first, marks.between, marks.text_mark, marks.text_end) if marks else ()
        parts = (self.opening, self.start, self.middle, self.end, self.separator, self.closing)
        return (*parts, *more, *self.aliases)


def _json_form(opening: str, closing: str, *, is_list: bool = False) -> CallForm:
    start, end = '{"name": "', "}"
    if is_list:
        return CallForm(opening + "[", start, '", "arguments": ', None, end, ", ", "]" + closing)
    return CallForm("", opening + start, '", "arguments": ', None, end + closing, "\n")


HERMES: Final = _json_form("<tool_call>\n", "\n</tool_call>")
"""Hermes, Qwen and many others; and what is asked of models whose template knows no tools."""
HARMONY_CALLS: Final = CallForm(
    "",
    HARMONY_CALL,
    HARMONY_ARGUMENTS,
    None,
    HARMONY_CALL_END,
    single=True,
)
"""gpt-oss, as it writes them (https://cookbook.openai.com/articles/openai-harmony)."""
_PYTHONIC: Final = TaggedArguments("(", ", ", "='", "=", "'", "")
KNOWN_FORMS: Final = (
    (
        "<|tool_calls_section_begin|>",  # Kimi K2
        CallForm(
            "<|tool_calls_section_begin|>",
            "<|tool_call_begin|>functions.",
            f":{NUMBER}<|tool_call_argument_begin|>",
            None,
            "<|tool_call_end|>",
            "",
            "<|tool_calls_section_end|>",
        ),
    ),
    (
        "<|tool_list_start|>",  # LFM2
        CallForm("<|tool_call_start|>[", "", "", _PYTHONIC, ")", ", ", "]<|tool_call_end|>"),
    ),
    ("<|tool_call|>", _json_form("<|tool_call|>", "", is_list=True)),  # Granite 3
    ("<tool_call>", HERMES),
)
"""For templates that list tools and leave calls out: what their text mentions, and the form."""
