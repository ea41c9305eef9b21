"""The tokens of prompts, and whether they leave room for an answer."""

from collections.abc import Sequence
from typing import Final

from edgespec.chat.messages import ChatMessage
from edgespec.chat.template import render_chat, template_of
from edgespec.errors import ContextOverflowError, UsageError
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.slots import Slots

_PIECE_CHARACTERS: Final = 1 << 16
"""Tokenized at a time to see whether a long text may fit."""
_USUAL_CHARACTERS: Final = 4
"""Of a token, in English: what is not longer than that is tokenized at once."""
_MOST_OF_A_CUT: Final = 64
"""Tokens that a piece may have more than the same characters have within their text; a few are usual."""


def tokenize_chat(context: Context, messages: Sequence[ChatMessage], *, raw: bool = False) -> list[int]:
    """Tokens of a conversation that a context is to answer; `tokenize_messages` says more.

    Returns:
        One at least, and fewer than the context has places.

    Raises:
        ModelFileError: the template fails.
        UsageError: nothing is left to answer.
        ContextOverflowError: it does not fit the context.
    """
    return tokenize_prompt(context, render_chat(template_of(context.model, raw=raw), messages))


def check_length(context: Context | Slots, tokens: list[int]) -> list[int]:
    """The tokens of a prompt, if they leave room for an answer.

    Raises:
        ContextOverflowError: they do not.
    """
    n_ctx = _places_of(context)
    if len(tokens) >= n_ctx:
        raise _too_long(f"{len(tokens)} tokens", len(tokens), n_ctx)
    return tokens


def tokenize_prompt(context: Context | Slots, text: str) -> list[int]:
    """Tokens of a text that a template may have made, one at least, if they leave room for an answer.

    Of a text that is far too long only the beginning is tokenized: all of 14 MB takes seconds, in which nobody else is answered.

    Raises:
        ContextOverflowError: they leave none.
        UsageError: there is none.
    """
    n_ctx = _places_of(context)
    if least_n := count_beyond(context.model, text, n_ctx):
        raise _too_long(f"{least_n} tokens or more", least_n, n_ctx)
    return check_length(context, tokenize_rendered(context.model, text))


def count_beyond(model: Model, text: str, n_ctx: int) -> int:
    """Tokens that the beginning of a text has, as soon as they are too many; 0 where the whole text has to be looked at.

    Args:
        model: Whose tokens they are.
        text: Of any length.
        n_ctx: The most tokens.
    """
    if len(text) <= max(_PIECE_CHARACTERS, _USUAL_CHARACTERS * n_ctx):
        return 0
    counted_n, most_n = 0, n_ctx
    for start in range(0, len(text), _PIECE_CHARACTERS):
        counted_n += len(model.tokenize(text[start : start + _PIECE_CHARACTERS], add_special=False))
        most_n += _MOST_OF_A_CUT
        if counted_n > most_n:
            return counted_n
    return 0


def _places_of(context: Context | Slots) -> int:
    return context.n_each if isinstance(context, Slots) else context.n_ctx


def _too_long(length: str, n_tokens: int, n_ctx: int) -> ContextOverflowError:
    return ContextOverflowError(
        f"the prompt has {length} and the context {n_ctx}",
        "use a larger `ctx_size` or a shorter prompt",
        n_tokens=n_tokens,
    )


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
    return tokenize_rendered(model, render_chat(template_of(model, raw=raw), messages))


def tokenize_rendered(model: Model, text: str) -> list[int]:
    """Tokens of a text that a template may have made, one at least.

    Raises:
        UsageError: there is none.
    """
    # A template that writes the begin token itself must not get a second one.
    has_bos = bool(model.bos_text) and text.startswith(model.bos_text)
    tokens = model.tokenize(text, add_special=not has_bos)
    if not tokens:
        raise UsageError("the prompt is empty", "give one with `prompt`, or pipe one in")
    return tokens
