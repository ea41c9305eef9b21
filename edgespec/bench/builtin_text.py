"""The text that models are measured on when the user names none."""

BUILTIN_TEXT = "the built-in prompts"


def builtin_text() -> str:
    """The benchmark's prompts, one after the other."""
    from edgespec.bench.prompts import builtin_prompts

    return "\n\n".join(message.content for prompt in builtin_prompts() for message in prompt.messages)
