"""What models put around their thoughts: their templates say it, or it is one of the forms that many models share."""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ThoughtMarks:
    """How one kind of model begins and ends a thought."""

    opening: str
    closing: str
    ending: str
    """What leads from a thought to the answer, white space included: ends a thought whose budget is spent."""

    @property
    def bridge(self) -> str:
        """What else stands before the answer after `closing`, such as the name of who speaks."""
        return self.ending.partition(self.closing)[2].strip()


def _tags(opening: str, closing: str) -> ThoughtMarks:
    return ThoughtMarks(opening, closing, f"\n{closing}\n\n")


def _tokens(opening: str, closing: str, bridge: str = "") -> ThoughtMarks:
    return ThoughtMarks(opening, closing, closing + bridge)


HARMONY: Final = _tokens(
    "<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant<|channel|>final<|message|>"
)
"""gpt-oss: every message names its channel (https://cookbook.openai.com/articles/openai-harmony)."""
HARMONY_CALL: Final = "<|channel|>commentary to=functions."
HARMONY_ARGUMENTS: Final = " <|constrain|>json<|message|>"
HARMONY_CALL_END: Final = "<|call|>"
"""Of a call: before the name of the function, between it and its arguments, and behind them."""
KNOWN_MARKS: Final = (
    _tags("<think>", "</think>"),  # Qwen3, DeepSeek R1, GLM, SmolLM3, MiniMax, LFM2.5, Nemotron, Granite 3.3
    _tags("<thinking>", "</thinking>"),
    _tags("<thought>", "</thought>"),  # EXAONE Deep
    _tags("<reasoning>", "</reasoning>"),
    _tags("<seed:think>", "</seed:think>"),  # Seed-OSS
    _tags("◁think▷", "◁/think▷"),  # Kimi-VL Thinking
    _tokens("[THINK]", "[/THINK]"),  # Magistral, Ministral 3
    _tokens("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>"),  # Command R7B and later
    _tokens("<|channel>thought\n", "<channel|>"),  # Gemma 4
    _tokens("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    _tokens("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1
)
_MARK: Final = r"(?:<[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]|◁[^◁▷\s]{1,20}▷)"
_BEFORE: Final = re.compile(rf"((?:{_MARK}[\w =]{{1,30}})*{_MARK})\s*$")
"""A mark, or several with words between them such as `<|open|>think<|sep|>`."""
_AFTER: Final = re.compile(rf"\s*({_MARK})")
_LONGEST_ENDING: Final = 120


def is_harmony(template: str) -> bool:
    """Whether a template's source is one of gpt-oss' form."""
    return "<|channel|>" in template and "<|message|>" in template


def marks_in_text(template: str) -> ThoughtMarks | None:
    """The known form that a template's source mentions; None where it mentions none."""
    return next(
        (marks for marks in KNOWN_MARKS if marks.closing in template or marks.opening in template), None
    )


def marks_around(rendered: str, prompt: str, thought: str, answer: str) -> ThoughtMarks | None:
    """A template's own marks, from what it puts around a thought.

    Args:
        rendered: A conversation whose last turn has both.
        prompt: The same conversation where that turn begins: who speaks is no mark.
        thought: As it stands there.
        answer: Likewise.

    Returns:
        None where no marks surround the thought, or it is left out.
    """
    before, found, after = rendered.partition(thought)
    if not found or answer not in after:
        return None
    ending = after.partition(answer)[0]
    opening, closing = _BEFORE.search(before), _AFTER.match(ending)
    if opening is None or closing is None or len(ending) > _LONGEST_ENDING or opening[1] == closing[1]:
        return None
    begun = opening[1]
    while not prompt.endswith(begun):
        begun = begun[:-1]
    return ThoughtMarks(opening[1][len(begun) :] or opening[1], closing[1], ending)
