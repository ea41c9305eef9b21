"""What is asked of a model's vocabulary alone: the tokens of a text, and the text of tokens."""

import re
from collections.abc import Sequence
from typing import Final

from edgespec.errors import UsageError
from edgespec.llama.model import Model
from edgespec.session.shared.asked import Detokenize, Tokenize, Tokenized

MOST_AT_ONCE: Final = 1 << 20
"""Characters, or tokens, for which nobody else is answered while they are looked up; of characters that is so for short texts only."""


def tokenize_text(model: Model, asked: Tokenize, text: str) -> Tokenized:
    """The tokens of a text.

    Raises:
        UsageError: it is too long to be taken apart between two rounds of answers.
    """
    _check_length(text, "characters")
    tokens = model.tokenize(text, add_special=asked.add_special, parse_special=asked.parse_special)
    return tokenized(model, asked.id, tokens)


def detokenize(model: Model, asked: Detokenize) -> Tokenized:
    """The text of tokens.

    Raises:
        UsageError: they are too many, or one is none of the model's.
    """
    _check_length(asked.tokens, "tokens")
    check_tokens(model, asked.tokens)
    return tokenized(model, asked.id, asked.tokens)


def tokenize_pair(model: Model, query: str, text: str, template: str | None) -> list[int]:
    """The tokens of a question and a text that a reranker compares, as of llama-server (`format_prompt_rerank`).

    Args:
        model: The reranker.
        query: The question.
        text: What may answer it.
        template: Of the file, with `{query}` and `{document}`.
    """
    if template is not None:
        places = {"{query}": query, "{document}": text}
        whole = re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], template)
        return model.tokenize(whole, add_special=False)
    begin = [] if model.added_bos is None else [model.added_bos]
    asked, answer = (model.tokenize(one, add_special=False, parse_special=False) for one in (query, text))
    return [*begin, *asked, *model.pair_separators, *answer, *model.added_eos]


def tokenized(model: Model, number: int, tokens: Sequence[int]) -> Tokenized:
    """What is told of tokens of the model's."""
    known = {token: model.token_bytes(token, special=True) for token in set(tokens)}
    pieces = tuple(known[token] for token in tokens)
    return Tokenized(number, tuple(tokens), pieces, b"".join(pieces).decode("utf-8", "replace"))


def check_tokens(model: Model, tokens: Sequence[int]) -> None:
    """Makes sure that tokens are the model's.

    Raises:
        UsageError: one is not.
    """
    wrong = next((token for token in tokens if not 0 <= token < model.n_vocab), None)
    if wrong is not None:
        raise UsageError(f"the model has no token {wrong}", f"use 0 to {model.n_vocab - 1}")


def _check_length(asked: Sequence[object], of: str) -> None:
    if len(asked) > MOST_AT_ONCE:
        raise UsageError(
            f"{len(asked)} {of} are more than the {MOST_AT_ONCE} that are looked up at once",
            "ask in several parts",
        )
