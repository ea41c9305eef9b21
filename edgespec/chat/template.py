"""Chat templates: the model's own Jinja template makes one text of a conversation."""

import logging
import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, Literal

from edgespec.chat.abilities import TemplateAbilities, base_variables, content_of, probe_template
from edgespec.chat.calls.discovery import CallAbilities, probe_calls
from edgespec.chat.calls.form import HERMES, CallForm
from edgespec.chat.calls.reader import ID_N
from edgespec.chat.calls.writing import arguments_of, fold_tools, list_tools, tool_values
from edgespec.chat.messages import ChatMessage
from edgespec.chat.renderer import render_all, template_error
from edgespec.chat.tools import Tool, ToolCall
from edgespec.llama.model import Model

log = logging.getLogger(__name__)

_NINE: Final = re.compile(r"length\s*!=\s*9")
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

    @cached_property
    def calls(self) -> CallAbilities:
        """What it does with tools.

        Raises:
            ModelFileError: it goes beyond the limits of time and memory.
        """
        abilities, base = self.abilities, base_variables(self._bos_text, self._eos_text)
        question = {"role": "user", "content": content_of("edgespec-question", typed=abilities.typed_content)}
        return probe_calls(self.source, base, [question], abilities.marks)

    @property
    def call_form(self) -> CallForm:
        """How its model writes calls of tools, or is asked to."""
        return self.calls.form or HERMES

    def render(
        self,
        messages: Sequence[ChatMessage],
        think: Think = "auto",
        tools: Sequence[Tool] = (),
        variables: Mapping[str, object] = MappingProxyType({}),
    ) -> str:
        """The conversation as the model wants it, ending where its answer begins.

        A system prompt goes into the first question where the template knows no such role, and tools into the system prompt
        where it knows none; said once.

        Args:
            messages: The conversation, the oldest first.
            think: Has no effect where the template has no switch; said once.
            tools: That the answer may call.
            variables: More of what the template is given.

        Raises:
            ModelFileError: the template fails, or leaves out what the user says.
        """
        abilities = self.abilities
        messages = self._fold_tools(messages, tools)
        if not abilities.system_role and any(message.role == "system" for message in messages):
            self._say(
                "the model's chat template has no system role: the system prompt begins the first question"
            )
            messages = fold_system(messages)
        given = base_variables(self._bos_text, self._eos_text) | {**variables}
        given["messages"] = [self._as_values(message) for message in messages]
        if tools and self.calls.lists:
            given["tools"] = tool_values(tools)
        given |= self._switched(think)
        (result,) = render_all(self.source, [given])
        if "text" not in result:
            raise template_error(result["error"])
        if not abilities.takes_question:
            raise template_error("it leaves out what the user says")
        return result["text"]

    def _fold_tools(self, messages: Sequence[ChatMessage], tools: Sequence[Tool]) -> Sequence[ChatMessage]:
        """The conversation with those of its calls, results and tools as text that the template cannot show."""
        if tools and not self.calls.lists:
            self._say("the model's chat template knows no tools: they are listed in the system prompt")
            messages = [ChatMessage("system", list_tools(tools, self.call_form)), *messages]
            if len(messages) > 1 and messages[1].role == "system":
                both = f"{messages[1].content}\n\n{messages[0].content}"
                messages = [ChatMessage("system", both), *messages[2:]]
        if any(message.calls or message.role == "tool" for message in messages):
            calls = self.calls
            messages = fold_tools(
                messages, self.call_form, calls=not calls.shows_calls, results=not calls.shows_results
            )
        return messages

    def _as_values(self, message: ChatMessage) -> dict[str, Any]:
        """A turn as templates see it. Whether an earlier thought is shown to the model is for them to say."""
        content = content_of(message.content, typed=self.abilities.typed_content)
        values: dict[str, Any] = {"role": message.role, "content": content}
        if message.thought:
            values |= {"reasoning_content": message.thought, "thinking": message.thought}
        if message.calls:
            values["tool_calls"] = [self._call_values(call) for call in message.calls]
        if message.role == "tool":
            values["tool_call_id"] = self._short_id(message.call_id)
            values |= {"name": message.tool_name} if message.tool_name else {}
        return values

    def _call_values(self, call: ToolCall) -> dict[str, Any]:
        arguments = call.arguments if self.calls.calls_as_text else arguments_of(call)
        function = {"name": call.name, "arguments": arguments}
        return {"id": self._short_id(call.id), "type": "function", "function": function}

    def _short_id(self, call_id: str) -> str:
        """Mistral's templates take ids of nine letters and digits, and no others."""
        if not _NINE.search(self.source) or (len(call_id) == ID_N and call_id.isalnum()):
            return call_id
        return sha256(call_id.encode()).hexdigest()[:ID_N]

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
    tools: Sequence[Tool] = (),
    variables: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """The text that the model goes on from: without a template the contents, joined by blank lines.

    Args:
        template: None for the contents alone; then the rest has no effect.
        messages: The oldest first.
        think: Whether the model may, where its template has a switch.
        tools: That it is told of.
        variables: More of what the template is given.

    Raises:
        ModelFileError: the template fails.
    """
    if template is None:
        return "\n\n".join(message.content for message in messages)
    return template.render(messages, think, tools, variables)
