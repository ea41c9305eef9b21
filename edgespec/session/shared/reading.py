"""What is asked, as the model reads it: tokens of conversations, texts and gaps."""

from dataclasses import replace

from edgespec.chat.infill import Infill, tokenize_infill
from edgespec.chat.messages import ChatMessage
from edgespec.chat.prompt_tokens import check_length, tokenize_prompt
from edgespec.chat.thinking import ChatPrompt, read_prompt
from edgespec.errors import UsageError
from edgespec.llama.slots import Slots
from edgespec.session.shared.asked import Ask, Tokenize, Tokenized
from edgespec.session.shared.vocabulary import check_tokens, tokenize_text, tokenized


def read_asked(asked: Ask | Tokenize, context: Slots) -> ChatPrompt | Tokenized:
    """The prompt of an ask, or the answer to a question for tokens. Computes nothing with the context.

    Raises:
        ContextOverflowError: it does not fit the context.
        ModelFileError: the template fails.
        UsageError: nothing is left to answer, or a text is too long.
    """
    if isinstance(asked, Ask):
        return replace(_read(asked, context), structure=asked.structure)
    model = context.model
    if isinstance(asked.prompt, str):
        return tokenize_text(model, asked, asked.prompt)
    ask = Ask(
        asked.id,
        asked.prompt,
        toolbox=asked.toolbox,
        thinking=asked.thinking,
        template_variables=asked.template_variables,
        continues=asked.continues,
    )
    return tokenized(model, asked.id, _read(ask, context).tokens)


def _read(ask: Ask, context: Slots) -> ChatPrompt:
    if isinstance(ask.prompt, str):
        return ChatPrompt(ask.prompt, tokenize_prompt(context, ask.prompt), None)
    if isinstance(ask.prompt, Infill):
        infill = replace(ask.prompt, answer_n=ask.max_tokens)
        return ChatPrompt("", tokenize_infill(context.model, infill, context.n_each), None)
    if all(isinstance(one, ChatMessage) for one in ask.prompt) and ask.prompt:
        messages = [one for one in ask.prompt if isinstance(one, ChatMessage)]
        return read_prompt(
            context,
            messages,
            thinking=ask.thinking,
            toolbox=ask.toolbox,
            variables=ask.template_variables,
            continues=ask.continues,
        )
    tokens = [one for one in ask.prompt if isinstance(one, int)]
    if not tokens:
        raise UsageError("the prompt is empty", "give one with `prompt`")
    check_length(context, tokens)
    check_tokens(context.model, tokens)
    return ChatPrompt("", tokens, None)
