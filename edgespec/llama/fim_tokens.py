"""The tokens with which a model fills in what is missing between two texts."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FimTokens:
    """Token ids; those that a vocabulary lacks are None."""

    prefix: int
    suffix: int
    middle: int
    repository: int | None
    """Before the name of a repository."""
    file: int | None
    """Before the name of a file."""


def find_fim_tokens(lib: Any, vocab: Any) -> FimTokens | None:
    """Those of a vocabulary; None where one of the first three is missing.

    Args:
        lib: llama_cpp's declarations.
        vocab: A `llama_vocab`.
    """
    found = [
        int(token) if token >= 0 else None
        for token in (
            lib.llama_vocab_fim_pre(vocab),
            lib.llama_vocab_fim_suf(vocab),
            lib.llama_vocab_fim_mid(vocab),
            lib.llama_vocab_fim_rep(vocab),
            lib.llama_vocab_fim_sep(vocab),
        )
    ]
    prefix, suffix, middle, repository, file = found
    if prefix is None or suffix is None or middle is None:
        return None
    return FimTokens(prefix, suffix, middle, repository, file)
