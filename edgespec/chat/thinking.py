"""Answers of models that think first: the thought apart from the answer, and ended where its budget is spent."""

from collections.abc import Generator as PyGenerator
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from edgespec.chat.marks import ThoughtMarks
from edgespec.chat.messages import ChatMessage
from edgespec.chat.template import (
    ChatTemplate,
    Think,
    check_length,
    render_chat,
    template_of,
    tokenize_rendered,
)
from edgespec.chat.thoughts import Parts, ThoughtReader, make_reader
from edgespec.decode.generate import Generator
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


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation as a model reads it."""

    text: str
    tokens: list[int]
    template: ChatTemplate | None
    """None where the text goes to the model as it is, and its answer to the user likewise."""


def read_prompt(
    context: Context, messages: Sequence[ChatMessage], *, raw: bool = False, think: Think = "auto"
) -> ChatPrompt:
    """A conversation that a context is to answer.

    Raises:
        ContextOverflowError: it does not fit the context.
        ModelFileError: the template fails.
        UsageError: nothing is left to answer.
    """
    template = template_of(context.model, raw=raw)
    text = render_chat(template, messages, think)
    return ChatPrompt(text, check_length(context, tokenize_rendered(context.model, text)), template)


def stream_answer(
    generator: Generator, model: Model, prompt: ChatPrompt, max_tokens: int, budget: int | None = None
) -> PyGenerator[Token, None, None]:
    """Yields the answer's tokens, thoughts apart; the generator's `stats` count both.

    Args:
        generator: For one answer.
        model: Its target.
        prompt: What it answers.
        max_tokens: Length limit, thoughts included.
        budget: Tokens of thought, after which it is ended once; None for as many as the model takes.

    Raises:
        ContextOverflowError: the prompt does not fit.
        EngineError: llama.cpp failed.
    """
    if prompt.template is None:
        yield from generator.generate(prompt.tokens, max_tokens)
        return
    reader = make_reader(prompt.template.abilities.marks, prompt.text)
    tokens = prompt.tokens
    if reader.in_thought and budget == 0:
        reader.add(reader.marks.ending)
        tokens, budget = tokens + ending_tokens(model, reader.marks), None
    with closing(_counted(generator, model, tokens, max_tokens, reader)) as answer:
        for token in answer:
            if budget is not None and reader.in_thought and generator.stats.thought_n >= budget:
                generator.insert(ending_tokens(model, reader.marks))
                token = _with(token, reader.add(reader.marks.ending))
                budget = None
            yield token


def ending_tokens(model: Model, marks: ThoughtMarks) -> list[int]:
    """Tokens that lead from a thought to the answer."""
    return model.tokenize(marks.ending, add_special=False)


def _counted(
    generator: Generator, model: Model, tokens: Sequence[int], max_tokens: int, reader: ThoughtReader
) -> PyGenerator[Token, None, None]:
    """The tokens in their parts; those of thoughts are counted."""
    with closing(generator.generate(tokens, max_tokens)) as answer:
        for token in answer:
            stats = generator.stats
            was_thought = reader.in_thought
            control = "" if stats.stopped == "eog" else model.control_text(token.id)
            parts = reader.add(token.text)
            if control:
                parts += reader.add(control, is_control=True)
            if was_thought or reader.in_thought:
                stats.thought_n += 1
                stats.thought_s += token.round_s / token.round_tokens
            if stats.stopped:
                parts += reader.finish()
            yield _with(replace(token, text="", thought=""), parts)


def _with(token: Token, parts: Parts) -> Token:
    return replace(token, text=token.text + parts.answer, thought=token.thought + parts.thought)
