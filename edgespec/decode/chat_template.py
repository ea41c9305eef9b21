"""Chat templates: the model's own Jinja template, rendered in a sandbox, as it came from an unknown place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edgespec.errors import ModelFileError

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation."""

    role: Role
    content: str


def render_chat(
    template: str | None, messages: Sequence[ChatMessage], *, bos_text: str = "", eos_text: str = ""
) -> str:
    """The conversation as the model wants it, ending where its answer begins.

    Without a template the contents are joined by blank lines: a base model continues the text.

    Raises:
        ModelFileError: the template fails; the message carries its own words.
    """
    if not template:
        return "\n\n".join(message.content for message in messages)
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _raise
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return environment.from_string(template).render(
            messages=turns, add_generation_prompt=True, bos_token=bos_text, eos_token=eos_text, tools=None
        )
    except (jinja2.TemplateError, TypeError, ValueError) as err:
        raise ModelFileError(
            f"the model's chat template fails: {err}", "use --raw to send the prompt without a template"
        ) from err


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
