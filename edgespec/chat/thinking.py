"""Answers of models that think first: the thought apart from the answer, and ended where its budget is spent."""

import codecs
from collections.abc import Generator as PyGenerator
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final
from weakref import WeakKeyDictionary

from edgespec.chat.answers import AnswerParts, AnswerReader
from edgespec.chat.marks import ThoughtMarks
from edgespec.chat.messages import ChatMessage
from edgespec.chat.prompt_tokens import tokenize_prompt
from edgespec.chat.structure import Structure
from edgespec.chat.template import (
    ChatTemplate,
    Think,
    render_chat,
    say_once,
    template_of,
)
from edgespec.chat.tools import NO_TOOLS, Toolbox
from edgespec.decode.generate import Generator
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.token import GenerationStats, Token
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.slots import Slots
from edgespec.ranges import check_ranges


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a model is to think before it answers.

    Raises:
        UsageError: a budget below 0.
    """

    think: Think = "auto"
    budget: int | None = None
    """Tokens of thought, after which the answer begins; None for as many as the model takes."""

    def __post_init__(self) -> None:
        check_ranges(think_budget=self.budget)


AS_IT_LIKES: Final = Thinking()
_unheeded: Final[WeakKeyDictionary[Model, list[str]]] = WeakKeyDictionary()
"""What was asked of models without a template, and has no effect."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The beginning of an answer, at the end of the tokens of its prompt."""

    tokens: tuple[int, ...]
    text_n: int
    """Characters of it that were told, which are not told again; what was held back then is not among them."""
    thought_n: int
    """Likewise, of the thought."""


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation as a model reads it."""

    text: str
    tokens: list[int]
    template: ChatTemplate | None
    """None where the text goes to the model as it is, and its answer to the user likewise."""
    toolbox: Toolbox = NO_TOOLS
    """That its answer may call."""
    begun: "Begun | None" = None
    """What is there of its answer already, where that goes on."""
    structure: Structure | None = None
    """Of its answer, where that is no call."""

    def make_reader(self) -> AnswerReader:
        """Reads the answer: thoughts apart, and calls of its tools.

        Raises:
            ValueError: the prompt was made without a template.
        """
        if self.template is None:
            raise ValueError("an answer without a template has no parts")
        marks, tools = self.template.abilities.marks, self.toolbox.offered
        form = self.template.call_form if tools else None
        if form is not None and not self.toolbox.parallel:
            form = replace(form, single=True)
        # What answers are held to may be JSON with a name and arguments, too.
        return AnswerReader(marks, self.text, form, tools, unmarked=self.structure is None)


def read_prompt(
    context: Context | Slots,
    messages: Sequence[ChatMessage],
    *,
    raw: bool = False,
    thinking: Thinking = AS_IT_LIKES,
    toolbox: Toolbox = NO_TOOLS,
    variables: Mapping[str, object] = MappingProxyType({}),
    continues: bool = False,
) -> ChatPrompt:
    """A conversation that a context is to answer.

    Args:
        context: Of the target.
        messages: The oldest first.
        raw: Leave the chat template out.
        thinking: Has no effect where there is no template, or none with a switch; said once.
        toolbox: What the answer may call; nothing where there is no template.
        variables: More of what the template is given.
        continues: The last message is an answer that goes on where it ends.

    Raises:
        ContextOverflowError: it does not fit the context.
        ModelFileError: the template fails.
        UsageError: nothing is left to answer.
    """
    template = template_of(context.model, raw=raw)
    if template is None and thinking != AS_IT_LIKES:
        _tell_unheeded(context.model, thinking)
    if toolbox.offered and template is None:
        say_once(_unheeded.setdefault(context.model, []), "tools are not offered: no chat template is used")
    begun = ""
    if continues and template is not None and messages and messages[-1].role == "assistant":
        # What a template puts around a whole answer would end it.
        messages, begun = messages[:-1], messages[-1].content
    text = render_chat(template, messages, thinking.think, toolbox.offered, variables) + begun
    return ChatPrompt(text, tokenize_prompt(context, text), template, toolbox)


def can_stop_thinking(model: Model) -> bool:
    """Whether the chat template has a switch that keeps the model from thinking."""
    template = template_of(model)
    switch = template.abilities.switch if template else None
    return switch is not None and switch.stops


def _tell_unheeded(model: Model, thinking: Thinking) -> None:
    """Says that nothing comes of what was asked, where no template is used."""
    switched = thinking.think != "auto"
    what = "thinking stays as it is" if switched else f"`think_budget` {thinking.budget} has no effect"
    raw = "`raw` leaves the model's chat template out"
    why = raw if model.chat_template else "the model has no chat template"
    say_once(_unheeded.setdefault(model, []), f"{what}: {why}")


def notes_of(model: Model) -> list[str]:
    """What could not be done as it was asked in the conversations with a model, each in a sentence."""
    template = template_of(model)
    return [*(template.notes if template else ()), *_unheeded.get(model, ())]


def stream_answer(
    generator: Generator,
    model: Model,
    prompt: ChatPrompt,
    max_tokens: int,
    budget: int | None = None,
    constraint: Constraint | None = None,
) -> PyGenerator[Token, None, None]:
    """Yields the answer's tokens, thoughts apart; the generator's `stats` count both.

    Args:
        generator: For one answer.
        model: Its target.
        prompt: What it answers.
        max_tokens: Length limit, thoughts included.
        budget: Tokens of thought, after which it is ended once; None for as many as the model takes.
        constraint: The generator's; it is told where a thought is ended.

    Raises:
        ContextOverflowError: the prompt does not fit.
        EngineError: llama.cpp failed.
        UsageError: the model has no token for what the constraint wants.
    """
    reader = TokenReader(model, prompt, budget, constraint)
    with closing(generator.generate(reader.prompt, max_tokens)) as answer:
        for token in answer:
            stats = generator.stats
            parts = reader.read(token.id, token.text, stats, token.round_s / token.round_tokens)
            if ending := reader.end_thought(stats):
                generator.insert(ending.tokens)
                parts += ending.parts
            yield replace(token, text=parts.text, thought=parts.thought, calls=parts.calls)


@dataclass(frozen=True, slots=True)
class ThoughtEnding:
    """What ends a thought whose budget is spent."""

    tokens: list[int]
    """That join the answer."""
    parts: AnswerParts
    """What that makes sure of what was held back."""


class TokenReader:
    """Reads an answer token by token: what of it is thought, and when that has been enough.

    Args:
        model: The target.
        prompt: What it answers.
        budget: Tokens of thought, after which it is ended once; None for as many as the model takes.
        constraint: Of the answer; it is told where a thought is ended.
    """

    def __init__(
        self,
        model: Model,
        prompt: ChatPrompt,
        budget: int | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        self.prompt = prompt.tokens
        """Tokens that the answer goes on from: a thought may be ended there already."""
        self._model, self._budget, self._constraint = model, budget, constraint
        self._read: list[int] = []
        """All of the answer, where a constraint has to be told."""
        self._told_text_n = self._told_thought_n = 0
        """Characters that come and have been told."""
        self._reader: AnswerReader | None = None
        if prompt.template is None:
            return
        self._reader = reader = prompt.make_reader()
        if prompt.begun:
            self._read_begun(prompt.begun)
        if reader.in_thought and budget == 0:
            reader.add(reader.marks.ending)
            self._tell(ending_tokens(model, reader.marks))
            self.prompt, self._budget = self.prompt + ending_tokens(model, reader.marks), None

    def _read_begun(self, begun: Begun) -> None:
        """Goes on from where an answer was cut."""
        assert self._reader is not None
        pieces = codecs.getincrementaldecoder("utf-8")("replace")
        read = AnswerParts()
        for token in begun.tokens:
            text = pieces.decode(self._model.token_bytes(token))
            read += _read_token(self._reader, text, self._model.control_text(token))[0]
        # At a cut all is told; here the same may still be held back.
        self._told_text_n = max(0, begun.text_n - len(read.text))
        self._told_thought_n = max(0, begun.thought_n - len(read.thought))

    def _untold(self, parts: AnswerParts) -> AnswerParts:
        text, thought = parts.text[self._told_text_n :], parts.thought[self._told_thought_n :]
        self._told_text_n -= len(parts.text) - len(text)
        self._told_thought_n -= len(parts.thought) - len(thought)
        return AnswerParts(text, thought, parts.calls)

    def _tell(self, ending: Sequence[int]) -> None:
        """A thought is ended here: what was picked behind it does not count."""
        if self._constraint:
            self._read += ending
            self._constraint.reset()
            self._constraint.insert(self._read)

    @property
    def in_thought(self) -> bool:
        """Whether the model thinks."""
        return self._reader is not None and self._reader.in_thought

    @property
    def call_n(self) -> int:
        """Calls that were read."""
        return self._reader.call_n if self._reader else 0

    def read(self, token: int, text: str, stats: GenerationStats, seconds: float) -> AnswerParts:
        """What became sure with a token; all that is left with the last one, as `stats.stopped` says.

        Args:
            token: The token.
            text: The characters that it completes.
            stats: Of the answer; thoughts are counted there.
            seconds: That it took.
        """
        if self._reader is None:
            return AnswerParts(text)
        if self._constraint:
            self._read.append(token)
        control = "" if stats.stopped == "eog" else self._model.control_text(token)
        parts, is_thought = _read_token(self._reader, text, control)
        if is_thought:
            stats.thought_n += 1
            stats.thought_s += seconds
        parts = parts + self._reader.finish() if stats.stopped else parts
        return self._untold(parts) if self._told_text_n > 0 or self._told_thought_n > 0 else parts

    def end_thought(self, stats: GenerationStats) -> ThoughtEnding | None:
        """What ends the thought here, if its budget is spent."""
        reader = self._reader
        is_spent = self._budget is not None and stats.thought_n >= self._budget
        if reader is None or not is_spent or not reader.in_thought or stats.stopped:
            return None
        self._budget = None
        tokens = ending_tokens(self._model, reader.marks)
        self._tell(tokens)
        return ThoughtEnding(tokens, reader.add(reader.marks.ending))


def ending_tokens(model: Model, marks: ThoughtMarks) -> list[int]:
    """Tokens that lead from a thought to the answer."""
    return model.tokenize(marks.ending, add_special=False)


def count_thoughts(model: Model, prompt: ChatPrompt, tokens: Sequence[int], *, ended: bool) -> int:
    """How many tokens of a whole answer are thoughts, counted as `stream_answer` does it.

    Args:
        model: Whose answer it is.
        prompt: What it answers.
        tokens: Of the answer.
        ended: The last one ended it.
    """
    if prompt.template is None:
        return 0
    reader = prompt.make_reader()
    pieces = codecs.getincrementaldecoder("utf-8")("replace")
    thought_n = 0
    for left, token in zip(range(len(tokens) - 1, -1, -1), tokens, strict=True):
        ends = ended and not left
        text = pieces.decode(b"" if ends else model.token_bytes(token), not left)
        _, is_thought = _read_token(reader, text, "" if ends else model.control_text(token))
        thought_n += is_thought
    return thought_n


def _read_token(reader: AnswerReader, text: str, control: str) -> tuple[AnswerParts, bool]:
    """What became sure with a token, and whether the model thinks with it, marks included."""
    was_thought = reader.in_thought
    parts = reader.add(text, control)
    return parts, was_thought or reader.in_thought
