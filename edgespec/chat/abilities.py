"""What a chat template can do, found out by rendering it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from edgespec.chat.marks import HARMONY, ThoughtMarks, is_harmony, marks_around, marks_in_text
from edgespec.chat.renderer import render_all

_QUESTION: Final = "edgespec-question"
_SYSTEM: Final = "edgespec-system"
_THOUGHT: Final = "edgespec-thought"
_ANSWER: Final = "edgespec-answer"
_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "edgespec_tool",
        "description": "Nothing.",
        "parameters": {"type": "object", "properties": {"a": {"type": "string", "description": "A."}}},
    },
}
_SWITCHES: Final[tuple[tuple[str, object, object], ...]] = (
    ("enable_thinking", True, False),  # Qwen3, GLM, SmolLM3, Gemma 4, Nemotron, Command R7B ...
    ("thinking", True, False),  # Granite 3, DeepSeek V3.1
    ("thinking_mode", "enabled", "disabled"),  # MiniMax M3
    ("thinking_option", "on", "off"),  # Ling 3
    ("thinking_budget", -1, 0),  # Seed-OSS
    ("reasoning", True, False),  # Command A Reasoning
)
"""Variables by which templates switch thinking: name, value for on, value for off."""
_EFFORT: Final = "reasoning_effort"
"""In words; which of them stops the model is for the template to say. gpt-oss is only told."""
_EFFORTS: Final = tuple(
    (_EFFORT, "high", word) for word in ("none", "no_think", "minimal")
)  # Mistral, Hy3, Solar
_ANY_EFFORT: Final = "edgespec-effort"


@dataclass(frozen=True, slots=True)
class ThinkingSwitch:
    """The variable of a template that says whether the model is to think."""

    name: str
    on: object
    """None where the model thinks unless it is switched off."""
    off: object
    stops: bool = True
    """Whether `off` keeps the model from thinking; else it thinks less."""


@dataclass(frozen=True, slots=True)
class TemplateAbilities:
    """What a chat template takes, and how its model thinks."""

    typed_content: bool
    """Contents are lists of parts, and a plain text would be lost."""
    takes_question: bool
    """What the user asks comes through; a template may take neither texts nor parts."""
    system_role: bool
    tools: bool
    switch: ThinkingSwitch | None
    marks: ThoughtMarks | None
    """Around thoughts, as far as the template shows them."""


def base_variables(bos_text: str, eos_text: str) -> dict[str, Any]:
    """What every template gets beside the conversation, as llama-cpp-python gives it."""
    return {
        "bos_token": bos_text,
        "eos_token": eos_text,
        "add_generation_prompt": True,
        "tools": None,
        "functions": None,
        "function_call": None,
        "tool_choice": None,
    }


def content_of(text: str, *, typed: bool) -> object:
    """A content as the template takes it."""
    return [{"type": "text", "text": text}] if typed else text


def probe_template(source: str, bos_text: str, eos_text: str) -> TemplateAbilities:
    """Renders conversations that tell what the template can do; one that fails can do nothing special.

    Raises:
        ModelFileError: beyond the limits of time and memory.
    """
    base = base_variables(bos_text, eos_text)
    plain, parts = (
        _text(result)
        for result in render_all(
            source, [base | {"messages": _turns(("user", _QUESTION), typed=typed)} for typed in (False, True)]
        )
    )
    typed = _QUESTION not in plain and _QUESTION in parts
    question = _turns(("user", _QUESTION), typed=typed)
    calls: list[Mapping[str, Any]] = [
        base | {"messages": _turns(("system", _SYSTEM), ("user", _QUESTION), typed=typed)},
        base | {"messages": question, "tools": [_TOOL]},
        base | {"messages": [*question, _thinking_turn(typed)], "add_generation_prompt": False},
    ]
    system, tools, thought = map(_text, render_all(source, calls))
    fails = _QUESTION not in (parts if typed else plain)
    return TemplateAbilities(
        typed_content=typed,
        takes_question=not (fails and plain),
        # What fails without a system prompt too is no question of roles: the answer will say what it is.
        system_role=fails or (_SYSTEM in system and _QUESTION in system),
        tools="edgespec_tool" in tools,
        switch=_find_switch(source, base | {"messages": question}),
        marks=_find_marks(source, thought, parts if typed else plain),
    )


def _find_marks(source: str, rendered: str, prompt: str) -> ThoughtMarks | None:
    if is_harmony(source):
        return HARMONY
    return marks_around(rendered, prompt, _THOUGHT, _ANSWER) or marks_in_text(source)


def _find_switch(source: str, question: Mapping[str, Any]) -> ThinkingSwitch | None:
    """The first variable that makes a difference, and fails in neither position.

    Args:
        source: Of the template.
        question: The variables of a conversation.
    """
    candidates = [switch for switch in (*_SWITCHES, *_EFFORTS) if switch[0] in source]
    if not candidates:
        return None
    calls = [{**question, name: value} for name, on, off in candidates for value in (on, off)]
    *rendered, any_effort = map(_text, render_all(source, [*calls, {**question, _EFFORT: _ANY_EFFORT}]))
    for candidate, (on, off) in zip(candidates, list(pairwise(rendered))[::2], strict=True):
        if on and off and on != off:
            # A template that hands on any word has none that stops the model.
            if candidate[0] == _EFFORT and _ANY_EFFORT in any_effort:
                return ThinkingSwitch(_EFFORT, None, "low", stops=False)
            return ThinkingSwitch(*candidate)
    return None


def _thinking_turn(typed: bool) -> dict[str, object]:
    content = content_of(_ANSWER, typed=typed)
    return {"role": "assistant", "content": content, "reasoning_content": _THOUGHT, "thinking": _THOUGHT}


def _turns(*turns: tuple[str, str], typed: bool) -> list[dict[str, object]]:
    return [{"role": role, "content": content_of(text, typed=typed)} for role, text in turns]


def _text(result: Mapping[str, str]) -> str:
    return result.get("text", "")
