"""Chat templates: the model's own Jinja template, rendered in a sandbox, as it came from an unknown place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgespec.errors import ContextOverflowError, ModelFileError, UsageError
from edgespec.llama.context import Context
from edgespec.llama.model import Model

Role = Literal["system", "user", "assistant"]
_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template can run into, beside its own errors: it is a program, if a small one."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation."""

    role: Role
    content: str


def render_chat(
    template: str | None, messages: Sequence[ChatMessage], *, bos_text: str = "", eos_text: str = ""
) -> str:
    """The conversation as the model wants it, ending where its answer begins.

    Args:
        template: The model's own, in Jinja. Without one the contents are joined by blank lines: a base model continues
            the text.
        messages: The conversation, the oldest first.
        bos_text: Of the token that begins a text, which templates may write.
        eos_text: Of the token that ends one.

    Raises:
        ModelFileError: the template fails; the message carries its own words.
    """
    if not template:
        return "\n\n".join(message.content for message in messages)
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _raise
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return environment.from_string(template).render(
            messages=turns, add_generation_prompt=True, bos_token=bos_text, eos_token=eos_text, tools=None
        )
    except (TemplateError, *_FAILURES) as err:
        raise ModelFileError(
            f"the model's chat template fails: {err}", "use `raw` to send the prompt without a template"
        ) from err


def tokenize_chat(context: Context, messages: Sequence[ChatMessage], *, raw: bool = False) -> list[int]:
    """Tokens of a conversation that a context is to answer; `tokenize_messages` says more.

    Returns:
        One at least, and fewer than the context has places.

    Raises:
        ModelFileError: the template fails.
        UsageError: nothing is left to answer.
        ContextOverflowError: it does not fit the context.
    """
    tokens = tokenize_messages(context.model, messages, raw=raw)
    if len(tokens) >= context.n_ctx:
        raise ContextOverflowError(
            f"the prompt has {len(tokens)} tokens and the context {context.n_ctx}",
            "use a larger `ctx_size` or a shorter prompt",
        )
    return tokens


def tokenize_messages(model: Model, messages: Sequence[ChatMessage], *, raw: bool = False) -> list[int]:
    """Tokens of a conversation in the model's own template, one at least.

    Args:
        model: The target, whose vocabulary and template it is; its weights are not needed.
        messages: The conversation, the oldest first.
        raw: Leave the template out.

    Raises:
        ModelFileError: the template fails.
        UsageError: nothing is left to answer.
    """
    template = None if raw else model.chat_template
    text = render_chat(template, messages, bos_text=model.bos_text, eos_text=model.eos_text)
    # A template that writes the begin token itself must not get a second one.
    has_bos = bool(model.bos_text) and text.startswith(model.bos_text)
    tokens = model.tokenize(text, add_special=not has_bos)
    if not tokens:
        raise UsageError("the prompt is empty", "give one with `prompt`, or pipe one in")
    return tokens


def _raise(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)
