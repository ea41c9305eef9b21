"""The questions of a search: three sets that have none in common, to fit drafts by, to judge them, and to prove them."""

from pathlib import Path
from typing import Final

from edgespec.bench.arm_loop import TokenizedPrompt
from edgespec.bench.prompts import Prompt, builtin_prompts, select
from edgespec.chat.messages import ChatMessage
from edgespec.chat.prompt_tokens import tokenize_messages
from edgespec.llama.model import Model
from quant.text.answers import Question
from quant.text.calibration import calibration_prompts

_FIT_QUESTIONS: Final = 24
_HELD_OUT_PER_CATEGORY: Final = 2
SPARED_CATEGORIES: Final = ("extract", "edit", "long-context")
"""What a proof with too little time is spared, the last one first: reading long texts takes most of the time, and answers
that copy much of their prompt would make drafts look better."""


def fit_questions() -> list[Question]:
    """What shortlists, removed blocks and importance are chosen by."""
    return [[ChatMessage("user", question)] for question in calibration_prompts()[:_FIT_QUESTIONS]]


def held_out_prompts() -> list[Prompt]:
    """What candidates are judged by: the first two of each category of the benchmark's."""
    return list(select(builtin_prompts(), limit=_HELD_OUT_PER_CATEGORY))


def proof_prompts() -> list[Prompt]:
    """What finalists answer: the next one of each category, `SPARED_CATEGORIES` at the end."""
    judging = held_out_prompts()
    following = select(builtin_prompts(), limit=_HELD_OUT_PER_CATEGORY + 1)
    unseen = [prompt for prompt in following if prompt not in judging]
    usual = [prompt for prompt in unseen if prompt.category not in SPARED_CATEGORIES]
    return usual + [prompt for name in SPARED_CATEGORIES for prompt in unseen if prompt.category == name]


def read_proof_prompts(path: Path) -> list[TokenizedPrompt]:
    """The `proof_prompts` in the tokens of a target; its variants have the same.

    Raises:
        ModelFileError: the target's chat template fails.
    """
    with Model(path, weights=False) as model:
        return [
            TokenizedPrompt(prompt.id, prompt.category, tuple(tokenize_messages(model, prompt.messages)))
            for prompt in proof_prompts()
        ]
