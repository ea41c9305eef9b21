"""The tokens of a model as bytes, for grammars."""

from functools import cached_property
from typing import Final
from weakref import WeakKeyDictionary, proxy

import numpy as np
from numpy.typing import NDArray

from edgespec.decode.grammar.byte_classes import FIRST_TOKEN
from edgespec.llama.model import Model

Ids = NDArray[np.int64]
_NO_TEXT: Final = 256


class Vocabulary:
    """What the tokens of a model are written as. Their list by first bytes is made when it is first asked for.

    Args:
        model: Whose vocabulary it is; it lives longer.
    """

    def __init__(self, model: Model) -> None:
        self._model: Model = proxy(model)
        self.n_tokens = model.n_vocab

    def text(self, token: int) -> bytes:
        """The bytes of a token; none of a control token."""
        return self._model.token_bytes(token)

    def is_end(self, token: int) -> bool:
        """Whether it ends an answer."""
        return self._model.is_end(token)

    @cached_property
    def ends(self) -> Ids:
        """The tokens that end an answer."""
        # They are control tokens, which have no text, or look like ones.
        likely = np.concatenate([self._lists[ord("<")], self._lists[_NO_TEXT]])
        return np.array(sorted(token for token in likely.tolist() if self._model.is_end(token)), np.int64)

    @cached_property
    def end(self) -> int | None:
        """The one that the model is most likely to end an answer with; None without any."""
        return self._model.turn_end

    @cached_property
    def _lists(self) -> list[Ids]:
        """The tokens by their first bytes, and in the last list those without text."""
        found: list[list[int]] = [[] for _ in range(_NO_TEXT + 1)]
        for token, text in enumerate(self._model.all_token_bytes()):
            found[text[0] if text else _NO_TEXT].append(token)
        return [np.array(ids, np.int64) for ids in found]

    def beginning_with(self, first_bytes: frozenset[int]) -> Ids:
        """The tokens whose text begins with one of these bytes, and the control tokens that stand as one; in no order."""
        lists = [self._lists[byte] for byte in first_bytes if byte < FIRST_TOKEN]
        controls = [byte - FIRST_TOKEN for byte in first_bytes if byte >= FIRST_TOKEN]
        return np.concatenate([np.array(sorted(controls), np.int64), *lists])

    def tokenize(self, text: bytes) -> list[int]:
        """Tokens whose bytes are a text's, or its beginning."""
        try:
            said = text.decode("utf-8")
        except UnicodeDecodeError as err:
            said = text[: err.start].decode("utf-8")
        tokens = self._model.tokenize(said, add_special=False, parse_special=False) if said else []
        # SentencePiece puts a space before a text, which is a token of its own or begins the first one.
        if tokens and not text.startswith(self.text(tokens[0])):
            del tokens[0]
        kept: list[int] = []
        place = 0
        for token in tokens:
            piece = self.text(token)
            if not piece or not text.startswith(piece, place):
                break
            kept.append(token)
            place += len(piece)
        return kept


_known: Final[WeakKeyDictionary[Model, Vocabulary]] = WeakKeyDictionary()


def vocabulary_of(model: Model) -> Vocabulary:
    """The vocabulary of a model, the same object each time."""
    return _known.setdefault(model, Vocabulary(model))
