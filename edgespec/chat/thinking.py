"""Answers of models that think first: the thought apart from the answer, and ended where its budget is spent."""

import codecs
from collections.abc import Generator as PyGenerator
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakKeyDictionary

from edgespec.chat.answers import AnswerParts, AnswerReader
from edgespec.chat.marks import ThoughtMarks
from edgespec.chat.messages import ChatMessage
from edgespec.chat.template import (
    ChatTemplate,
    Think,
    check_length,
    render_chat,
    say_once,
    template_of,
    tokenize_rendered,
)
from edgespec.chat.tools import NO_TOOLS, Toolbox
from edgespec.decode.generate import Generator
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.token import Token
from edgespec.llama.context import Context
from edgespec.llama.model import Model
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
class ChatPrompt:
    """A conversation as a model reads it."""

    text: str
    tokens: list[int]
    template: ChatTemplate | None
    """None where the text goes to the model as it is, and its answer to the user likewise."""
    toolbox: Toolbox = NO_TOOLS
    """That its answer may call."""

    def make_reader(self) -> AnswerReader:
        """Reads the answer: thoughts apart, and calls of its tools."""
        if self.template is None:
            raise ValueError("an answer without a template has no parts")
        marks, tools = self.template.abilities.marks, self.toolbox.offered
        return AnswerReader(marks, self.text, self.template.call_form if tools else None, tools)


def read_prompt(
    context: Context,
    messages: Sequence[ChatMessage],
    *,
    raw: bool = False,
    thinking: Thinking = AS_IT_LIKES,
    toolbox: Toolbox = NO_TOOLS,
) -> ChatPrompt:
    """A conversation that a context is to answer.

    Args:
        context: Of the target.
        messages: The oldest first.
        raw: Leave the chat template out.
        thinking: Has no effect where there is no template, or none with a switch; said once.
        toolbox: What the answer may call; nothing where there is no template.

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
    text = render_chat(template, messages, thinking.think, toolbox.offered)
    tokens = check_length(context, tokenize_rendered(context.model, text))
    return ChatPrompt(text, tokens, template, toolbox)


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
    if prompt.template is None:
        yield from generator.generate(prompt.tokens, max_tokens)
        return
    reader = prompt.make_reader()
    tokens = prompt.tokens
    if reader.in_thought and budget == 0:
        reader.add(reader.marks.ending)
        tokens, budget = tokens + ending_tokens(model, reader.marks), None
        if constraint:
            constraint.insert(ending_tokens(model, reader.marks))
    with closing(_counted(generator, model, tokens, max_tokens, reader)) as answer:
        for token in answer:
            if budget is not None and reader.in_thought and generator.stats.thought_n >= budget:
                generator.insert(ending_tokens(model, reader.marks))
                if constraint:
                    constraint.insert(ending_tokens(model, reader.marks))
                token = _with(token, reader.add(reader.marks.ending))
                budget = None
            yield token


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


def _counted(
    generator: Generator, model: Model, tokens: Sequence[int], max_tokens: int, reader: AnswerReader
) -> PyGenerator[Token, None, None]:
    """The tokens in their parts; those of thoughts are counted."""
    with closing(generator.generate(tokens, max_tokens)) as answer:
        for token in answer:
            stats = generator.stats
            control = "" if stats.stopped == "eog" else model.control_text(token.id)
            parts, is_thought = _read_token(reader, token.text, control)
            if is_thought:
                stats.thought_n += 1
                stats.thought_s += token.round_s / token.round_tokens
            if stats.stopped:
                parts += reader.finish()
            yield _with(replace(token, text="", thought=""), parts)


def _read_token(reader: AnswerReader, text: str, control: str) -> tuple[AnswerParts, bool]:
    """What became sure with a token, and whether the model thinks with it, marks included."""
    was_thought = reader.in_thought
    parts = reader.add(text, control)
    return parts, was_thought or reader.in_thought


def _with(token: Token, parts: AnswerParts) -> Token:
    calls = token.calls + parts.calls
    return replace(token, text=token.text + parts.text, thought=token.thought + parts.thought, calls=calls)
