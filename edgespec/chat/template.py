"""Chat templates: the model's own Jinja template makes one text of a conversation."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

from edgespec.chat.abilities import TemplateAbilities, base_variables, content_of, probe_template
from edgespec.chat.messages import ChatMessage
from edgespec.chat.renderer import render_all, template_error
from edgespec.errors import ContextOverflowError, UsageError
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.slots import Slots

log = logging.getLogger(__name__)

Think = Literal["auto", "on", "off"]
"""Whether the model is to think before it answers; `auto` leaves it to the template."""
THINKS: Final[tuple[Think, ...]] = ("auto", "on", "off")


class ChatTemplate:
    """A model's template. What it can do is found out with the first conversation.

    Args:
        source: In Jinja.
        bos_text: Of the token that begins a text, which templates may write.
        eos_text: Of the token that ends one.
    """

    def __init__(self, source: str, bos_text: str = "", eos_text: str = "") -> None:
        self.source, self._bos_text, self._eos_text = source, bos_text, eos_text
        self.notes: list[str] = []
        """What had to be done otherwise than asked, each in a sentence; all of it went to the log, too."""

    @cached_property
    def abilities(self) -> TemplateAbilities:
        """What it takes, and how its model thinks.

        Raises:
            ModelFileError: it goes beyond the limits of time and memory.
        """
        return probe_template(self.source, self._bos_text, self._eos_text)

    def render(
        self,
        messages: Sequence[ChatMessage],
        think: Think = "auto",
        more: Mapping[str, object] = MappingProxyType({}),
    ) -> str:
        """The conversation as the model wants it, ending where its answer begins.

        A system prompt goes into the first question where the template knows no such role; said once.

        Args:
            messages: The conversation, the oldest first.
            think: Has no effect where the template has no switch; said once.
            more: Variables that the template is given besides; they go before ours.

        Raises:
            ModelFileError: the template fails, or leaves out what the user says.
        """
        abilities = self.abilities
        if not abilities.system_role and any(message.role == "system" for message in messages):
            self._say(
                "the model's chat template has no system role: the system prompt begins the first question"
            )
            messages = fold_system(messages)
        variables = base_variables(self._bos_text, self._eos_text)
        variables["messages"] = [_as_values(message, abilities) for message in messages]
        variables |= self._switched(think) | dict(more)
        (result,) = render_all(self.source, [variables])
        if "text" not in result:
            raise template_error(result["error"])
        if not abilities.takes_question:
            raise template_error("it leaves out what the user says")
        return result["text"]

    def _switched(self, think: Think) -> dict[str, object]:
        """The variable that switches thinking, where there is one and it has to be set."""
        switch = self.abilities.switch
        if think == "auto":
            return {}
        if switch is None:
            self._say("thinking stays as it is: the model's chat template has no switch for it")
            return {}
        if think == "off" and not switch.stops:
            self._say(
                "thinking is only lessened: the model's chat template cannot switch it off; "
                "`edgespec run` with `think_budget` 0 begins the answer at once"
            )
        value = switch.on if think == "on" else switch.off
        return {} if value is None else {switch.name: value}

    def _say(self, text: str) -> None:
        say_once(self.notes, text)


def say_once(notes: list[str], text: str) -> None:
    """Adds a sentence to the notes and to the log, unless it is there already."""
    if text not in notes:
        notes.append(text)
        log.warning(text)


def fold_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The conversation without a system role: what it said begins the first question."""
    system = [message.content for message in messages if message.role == "system"]
    turns = [message for message in messages if message.role != "system"]
    place = next((place for place, turn in enumerate(turns) if turn.role == "user"), None)
    if place is None:
        return [ChatMessage("user", "\n\n".join(system)), *turns]
    turns[place] = ChatMessage("user", "\n\n".join([*system, turns[place].content]))
    return turns


def _as_values(message: ChatMessage, abilities: TemplateAbilities) -> dict[str, Any]:
    """A turn as templates see it. Whether an earlier thought is shown to the model is for them to say."""
    content = content_of(message.content, typed=abilities.typed_content)
    values: dict[str, Any] = {"role": message.role, "content": content}
    if message.thought:
        values |= {"reasoning_content": message.thought, "thinking": message.thought}
    return values


@lru_cache(maxsize=16)
def _load(source: str, bos_text: str, eos_text: str) -> ChatTemplate:
    return ChatTemplate(source, bos_text, eos_text)


def template_of(model: Model, *, raw: bool = False) -> ChatTemplate | None:
    """The template of a model, the same object each time; None where it has none, or `raw` leaves it out."""
    source = None if raw else model.chat_template
    return _load(source, model.bos_text, model.eos_text) if source else None


def render_chat(
    template: ChatTemplate | None,
    messages: Sequence[ChatMessage],
    think: Think = "auto",
    more: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """The text that the model goes on from: without a template the contents, joined by blank lines.

    Raises:
        ModelFileError: the template fails.
    """
    if template is None:
        return "\n\n".join(message.content for message in messages)
    return template.render(messages, think, more)


def tokenize_chat(context: Context, messages: Sequence[ChatMessage], *, raw: bool = False) -> list[int]:
    """Tokens of a conversation that a context is to answer; `tokenize_messages` says more.

    Returns:
        One at least, and fewer than the context has places.

    Raises:
        ModelFileError: the template fails.
        UsageError: nothing is left to answer.
        ContextOverflowError: it does not fit the context.
    """
    return check_length(context, tokenize_messages(context.model, messages, raw=raw))


def check_length(context: Context | Slots, tokens: list[int]) -> list[int]:
    """The tokens of a prompt, if they leave room for an answer.

    Raises:
        ContextOverflowError: they do not.
    """
    n_ctx = context.n_each if isinstance(context, Slots) else context.n_ctx
    if len(tokens) >= n_ctx:
        raise ContextOverflowError(
            f"the prompt has {len(tokens)} tokens and the context {n_ctx}",
            "use a larger `ctx_size` or a shorter prompt",
            n_tokens=len(tokens),
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
