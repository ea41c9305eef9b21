"""The texts that models are measured on when the user names none."""

from typing import Final

BUILTIN_TEXT: Final = "the built-in prompts"
"""What the text of `builtin_text` is called in results."""
TIMING_PROMPT: Final = "The Leaning Tower of Pisa is known for"
"""The published harness's prompt (Shortened LLaMA, gen_batch_eval_time.py): speeds are measured after it."""


def builtin_text() -> str:
    """The benchmark's prompts, one after the other."""
    from edgespec.bench.prompts import builtin_prompts

    return "\n\n".join(message.content for prompt in builtin_prompts() for message in prompt.messages)
