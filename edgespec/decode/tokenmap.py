"""Token ids of the draft and of the target. Usually the same; else joined by the text that they stand for.

A draft token whose text the target does not have as one token ends the draft there; a target token that the draft
does not have is read as the pieces that the draft's own tokenizer makes of its text. Lossless: the target decides.
"""

from collections.abc import Callable, Sequence
from typing import Protocol


class Translator(Protocol):
    """Between the target's ids and the draft's.

    Where the target's token 900 is `hello` and the draft has `hel`, its 30, and `lo`, its 31, `to_draft([900])` is 30, 31
    and `to_target(30)` None, unless the target has a token `hel` of its own.
    """

    def to_draft(self, tokens: Sequence[int]) -> Sequence[int]:
        """The draft's ids for a stretch of the target's, of the same text; at times fewer or more."""
        ...

    def to_target(self, token: int) -> int | None:
        """The target's id of a draft token; None if it has none."""
        ...


class SameVocabulary:
    """One vocabulary for both, whose sizes may differ by padding at the end.

    Args:
        n_vocab_target: Tokens of the target.
        n_vocab_draft: Tokens of the draft.
    """

    def __init__(self, n_vocab_target: int, n_vocab_draft: int) -> None:
        self._n_target, self._n_draft = n_vocab_target, n_vocab_draft

    def to_draft(self, tokens: Sequence[int]) -> Sequence[int]:
        """The same ids; one beyond the draft's vocabulary is read as its token 0."""
        if self._n_draft >= self._n_target:
            return tokens
        return [token if token < self._n_draft else 0 for token in tokens]

    def to_target(self, token: int) -> int | None:
        """The same id, unless it is beyond the target's vocabulary."""
        return token if token < self._n_target else None


class TextMap:
    """Two vocabularies joined by text.

    Args:
        to_target: Target id of every draft id, `[n_vocab_draft]`, -1 where the text is not a single target token
            (`catalog.compatibility.token_map`).
        to_draft: Draft id of every target id, `[n_vocab_target]`, -1 likewise.
        pieces: The draft's own ids for a target token without a partner.
    """

    def __init__(
        self, to_target: Sequence[int], to_draft: Sequence[int], pieces: Callable[[int], Sequence[int]]
    ) -> None:
        self._to_target, self._to_draft, self._pieces = to_target, to_draft, pieces

    def to_draft(self, tokens: Sequence[int]) -> Sequence[int]:
        """Partners where there are any, else the draft's own pieces of the text."""
        ids: list[int] = []
        for token in tokens:
            partner = int(self._to_draft[token])
            if partner >= 0:
                ids.append(partner)
            else:
                ids.extend(self._pieces(token))
        return ids

    def to_target(self, token: int) -> int | None:
        """The target token of identical text."""
        partner = int(self._to_target[token])
        return partner if partner >= 0 else None
