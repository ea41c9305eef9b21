"""What an answer may go on with: asked before each of its tokens, and told each one."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgespec.decode.grammar.automaton import Automaton, State
from edgespec.decode.grammar.byte_classes import FIRST_TOKEN
from edgespec.decode.grammar.vocabulary import Ids, Vocabulary
from edgespec.errors import UsageError
from edgespec.llama.sampler import Sampler

FITTING_N: Final = 1024
"""Tokens among which one is drawn where the first that was drawn does not fit: the likeliest that do. Of 150,000 the others
have no weight worth the second that it takes to try them."""
_MOST_WORK: Final = 1_000_000
"""Places of the grammar that are looked at for one token, a second: what takes longer is made to take long."""
_FEW: Final = 64
"""Tokens that are tried before all that begin rightly are looked up."""
_FIRST_ONES: Final = (256, 4096)
"""How many of those are put in order at a time."""

Logits = NDArray[np.float32]


class Constraint(Protocol):
    """What every token of an answer has to fit. One for each answer."""

    def allows(self, token: int) -> bool:
        """Whether the token may come next."""
        ...

    def fitting(self, logits: Logits, most: int = FITTING_N) -> Ids:
        """The likeliest tokens that may come next, the likeliest first, the lower id on a tie; one at least.

        Args:
            logits: Of all tokens, `[n_vocab]`.
            most: How many.

        Raises:
            UsageError: the model has no token for what has to come.
        """
        ...

    def count_fitting(self, tokens: Iterable[int]) -> int:
        """How many of the tokens fit one behind the other, up to the first that does not."""
        ...

    def accept(self, token: int) -> None:
        """The token is part of the answer."""
        ...

    def insert(self, tokens: Iterable[int]) -> None:
        """Tokens became part of the answer that nobody picked."""
        ...

    def forced(self, chain: Iterable[int] = ()) -> list[int]:
        """Tokens that say what has to come next, after a chain of guesses: the text is certain, the tokens are the tokenizer's."""
        ...

    def reset(self) -> None:
        """Another answer begins."""
        ...


class GrammarConstraint:
    """A grammar that an answer has to match from its beginning. Control tokens fit only where the grammar names them.

    Args:
        automaton: Of the grammar; shared by any number of answers.
        vocabulary: Of the model.
    """

    def __init__(self, automaton: Automaton, vocabulary: Vocabulary) -> None:
        self._automaton, self._vocabulary = automaton, vocabulary
        self._state = automaton.start

    @property
    def can_end(self) -> bool:
        """Whether the answer may end here."""
        return self._state.can_end

    def allows(self, token: int) -> bool:
        """Whether the token may come next."""
        return self._after(self._state, token) is not None

    def fitting(self, logits: Logits, most: int = FITTING_N) -> Ids:
        """The likeliest tokens that may come next; one at least.

        Args:
            logits: `[n_vocab]`.
            most: Tokens.

        Returns:
            `[n]` tokens, the likeliest first.

        Raises:
            UsageError: the vocabulary has none, or the grammar takes too long to follow.
        """
        few = _likeliest(logits, _FEW)
        found = self._allowed(few.tolist(), most)
        if len(found) < most:
            found = self._look_up(logits, most) or found
        if not found:
            raise UsageError(
                "the model has no token for what the grammar wants next", "use another grammar or model"
            )
        return np.array(found, np.int64)

    def _look_up(self, logits: Logits, most: int) -> list[int]:
        """The same, out of all that begin rightly."""
        vocabulary, state = self._vocabulary, self._state
        ids = np.concatenate([vocabulary.beginning_with(state.next_bytes), vocabulary.ends])
        return self._allowed(_in_order(logits, ids), most)

    def _allowed(self, tokens: Iterable[int], most: int) -> list[int]:
        """The first of the tokens that fit."""
        found: list[int] = []
        most_work = self._automaton.work + _MOST_WORK
        for token in tokens:
            if self.allows(token):
                found.append(token)
                if len(found) == most:
                    break
            if self._automaton.work > most_work:
                raise UsageError(
                    "the grammar takes too long to follow here", "use one with fewer ways to say the same"
                )
        return found

    def count_fitting(self, tokens: Iterable[int]) -> int:
        """How many of the tokens fit one behind the other, up to the first that does not."""
        state: State | None = self._state
        count = 0
        for token in tokens:
            if state is None or (state := self._ahead(state, token)) is None:
                break
            count += 1
            if self._vocabulary.is_end(token):
                break
        return count

    def accept(self, token: int) -> None:
        """The token is part of the answer."""
        state = self._after(self._state, token)
        if state is not None:
            self._state = state

    def insert(self, tokens: Iterable[int]) -> None:
        """Tokens became part of the answer that nobody picked."""
        for token in tokens:
            self.accept(token)

    def forced(self, chain: Iterable[int] = ()) -> list[int]:
        """Tokens that say what has to come next, after a chain of guesses."""
        state: State | None = self._state
        for token in chain:
            if state is None or self._vocabulary.is_end(token):
                return []
            state = self._ahead(state, token)
        if state is None:
            return []
        try:
            codes, behind = self._automaton.forced(state)
        except UsageError:
            return []
        tokens, is_whole = self._tokenize(codes)
        if is_whole and behind.can_end and not behind.ways and self._vocabulary.end is not None:
            tokens.append(self._vocabulary.end)
        return tokens

    def reset(self) -> None:
        """Another answer begins."""
        self._state = self._automaton.start

    def _after(self, state: State, token: int) -> State | None:
        """The state behind a token; None where it does not fit."""
        if self._vocabulary.is_end(token):
            return state if state.can_end else None
        behind = self._automaton.walk(state, self._vocabulary.text(token) or (FIRST_TOKEN + token,))
        return None if behind.is_dead else behind

    def _ahead(self, state: State, token: int) -> State | None:
        """The same for a guess: one that cannot be followed does not fit."""
        try:
            return self._after(state, token)
        except UsageError:
            return None

    def _tokenize(self, codes: Sequence[int]) -> tuple[list[int], bool]:
        """Tokens of a text, and whether they are all of it."""
        tokens: list[int] = []
        for is_text, group in groupby(codes, lambda code: code < FIRST_TOKEN):
            if not is_text:
                tokens += [code - FIRST_TOKEN for code in group]
                continue
            text = bytes(group)
            found = self._vocabulary.tokenize(text)
            tokens += found
            if b"".join(map(self._vocabulary.text, found)) != text:
                return tokens, False
        return tokens, True


def pick_fitting(logits: Logits, constraint: Constraint, sampler: Sampler | None = None) -> int:
    """Picks the next token of an answer, and tells the constraint and the sampler.

    The token that would be picked without the constraint is tried first, as llama.cpp does it (common/sampling.cpp): it fits
    as a rule. Else one is picked of those that fit. Both together draw from the same distribution.

    Args:
        logits: `[n_vocab]`.
        constraint: Of this answer.
        sampler: None for the likeliest token.

    Raises:
        UsageError: the model has no token for what has to come.
    """
    if sampler is None:
        token = int(logits.argmax())
        if not constraint.allows(token):
            token = int(constraint.fitting(logits, 1)[0])
    else:
        token = sampler.draw(logits)
        if not constraint.allows(token):
            token = sampler.draw(logits, constraint.fitting(logits))
        sampler.accept(token)
    constraint.accept(token)
    return token


def _likeliest(logits: Logits, count: int) -> Ids:
    if len(logits) <= count:
        return np.array(_sorted(logits, np.arange(len(logits))), np.int64)
    ids = np.argpartition(logits, -count)[-count:]
    # Of tokens that are as likely as the last one any may be left out: those stay for the whole search.
    least = logits[ids].min()
    ids = ids[logits[ids] > least]
    return np.array(_sorted(logits[ids], ids), np.int64)


def _in_order(logits: Logits, ids: Ids) -> Iterator[int]:
    """The ids, the likeliest first; the first ones before the others are sorted."""
    values = logits[ids]
    for some in _FIRST_ONES:
        if len(ids) > some:
            edge = np.partition(values, -some)[-some]
            first = values > edge
            yield from _sorted(values[first], ids[first])
            values, ids = values[~first], ids[~first]
    yield from _sorted(values, ids)


def _sorted(values: Logits, ids: Ids) -> list[int]:
    order = np.lexsort((ids, -values))
    return [int(token) for token in ids[order]]
