"""An answer that was cut and goes on: from the tokens that it had, which are still in the cache."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from edgespec.chat.messages import ChatMessage
from edgespec.chat.thinking import Begun, ChatPrompt
from edgespec.decode.token import Token
from edgespec.errors import UsageError
from edgespec.llama.model import Model

_NO_CHARACTER: Final = "\N{REPLACEMENT CHARACTER}"
"""Stands at the end of an answer that was cut within a character."""


@dataclass(slots=True)
class WrittenAnswer:
    """The newest answer of a session, token by token."""

    prompt: Sequence[int]
    """What it answers."""
    tokens: list[Token] = field(default_factory=list)

    def goes_on(self, prompt: ChatPrompt, told: ChatMessage, model: Model) -> bool:
        """Whether it is this answer to that prompt, as far as it was told: then it is cut there, and goes on from there.

        Tokens at its end that only begin a character go too: the model picks them again.
        """
        if list(self.prompt) != prompt.tokens:
            return False
        wanted = (told.content.rstrip(_NO_CHARACTER), told.thought.rstrip(_NO_CHARACTER))
        text = thought = ""
        # A stop may have come between the tokens of a round.
        for n, token in enumerate(self.tokens, 1):
            text, thought = text + token.text, thought + token.thought
            if (text.rstrip(_NO_CHARACTER), thought.rstrip(_NO_CHARACTER)) == wanted:
                whole_n = _whole_characters([one.id for one in self.tokens[:n]], model)
                self.tokens = self.tokens[:whole_n]
                return True
        return False

    def resumed(self, prompt: ChatPrompt, told: ChatMessage) -> ChatPrompt:
        """The prompt with what was written of its answer."""
        ids = tuple(token.id for token in self.tokens)
        text_n, thought_n = (len(part.rstrip(_NO_CHARACTER)) for part in (told.content, told.thought))
        return replace(prompt, tokens=[*prompt.tokens, *ids], begun=Begun(ids, text_n, thought_n))


def answer_of(messages: Sequence[ChatMessage]) -> ChatMessage:
    """The answer at the end of a conversation.

    Raises:
        UsageError: there is none.
    """
    if not messages or messages[-1].role != "assistant":
        raise UsageError("no answer stands at the end of the conversation", "ask something first")
    return messages[-1]


def _whole_characters(tokens: Sequence[int], model: Model) -> int:
    """How many tokens there are up to the last end of a character."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    whole_n = 0
    for n, token in enumerate(tokens, 1):
        decoder.decode(model.token_bytes(token))
        if not decoder.getstate()[0]:
            whole_n = n
    return whole_n
