"""An embedding model for many callers: their texts are taken in between batches, the oldest first."""

from collections import deque
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

import numpy as np

from edgespec.chat.prompt_tokens import count_beyond
from edgespec.errors import ContextOverflowError, EdgespecError, UsageError
from edgespec.lifetime import Closes
from edgespec.llama.embedding_context import Vectors
from edgespec.session.loading import resident_bytes
from edgespec.session.shared.asked import (
    Asked,
    Cancel,
    Detokenize,
    Embed,
    Embedded,
    Figures,
    Look,
    LookAtAnswers,
    Places,
    Tokenize,
    Told,
)
from edgespec.session.shared.embedding_engine import MOST_TEXTS, EmbeddingEngine
from edgespec.session.shared.refusing import refusal_of
from edgespec.session.shared.vocabulary import check_tokens, detokenize, tokenize_pair, tokenize_text

_BATCH_TOKENS: Final = 512
"""Of short texts together: every token is compared with all of a batch, those of other texts for nothing."""
_INT16: Final = 32760.0
"""The largest number of a vector that is scaled to 16 bits (common/common.cpp, `common_embd_normalize`)."""


@dataclass(slots=True)
class _Under:
    """An `Embed` under way."""

    embed: Embed
    texts: list[list[int]]
    vectors: list[Vectors] = field(default_factory=list)
    """Of the first texts, `[width]` each."""


class EmbeddingSession(Closes):
    """Makes vectors of texts, for many callers, in one thread.

    `submit` takes in what is asked and computes nothing; `step` computes a batch and returns what there is to tell.

    Args:
        engine: With the model; closed with the session.
    """

    def __init__(self, engine: EmbeddingEngine) -> None:
        self.engine = engine
        self._inbox: deque[Asked] = deque()
        self._under: list[_Under] = []
        self._read_n, self._read_s, self._passes = 0, 0.0, 0

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do until something is asked."""
        return not self._inbox and not self._under

    def submit(self, asked: Asked) -> None:
        """Takes something in; `step` answers it."""
        self._inbox.append(asked)

    def rest(self) -> None:
        """Nothing: no text is held from one batch to the next."""

    def step(self) -> list[Told]:
        """One batch.

        Returns:
            What there is to tell, in its order.
        """
        told: list[Told] = []
        while self._inbox:
            asked = self._inbox.popleft()
            try:
                told += self._take_in(asked)
            except EdgespecError as error:
                told.append(refusal_of(asked.id, error, self.engine.n_ctx))
        if self._under:
            told += self._compute()
        return told

    def _take_in(self, asked: Asked) -> list[Told]:
        match asked:
            case Cancel(number):
                self._under = [one for one in self._under if one.embed.id != number]
                return []
            case Embed():
                self._under.append(_Under(asked, [self._tokens_of(one, asked) for one in asked.texts]))
                return []
            case Tokenize(prompt=str(text)):
                return [tokenize_text(self.engine.model, asked, text)]
            case Detokenize():
                return [detokenize(self.engine.model, asked)]
            case Look(number):
                return [self._figures(number)]
            case LookAtAnswers(number):
                return [Places(number, (), False)]
            case _:
                raise UsageError(
                    f"{self.engine.file.name} is {self.engine.pooling.noun}, which writes no text",
                    "ask it for embeddings, or another model",
                )

    def _tokens_of(self, text: str | tuple[int, ...], embed: Embed) -> list[int]:
        model, n_ctx = self.engine.model, self.engine.n_ctx
        if isinstance(text, str):
            if least_n := count_beyond(model, (embed.query or "") + text, n_ctx):
                raise _too_long(f"{least_n} tokens or more", least_n, n_ctx)
            if embed.query is None:
                text = tuple(model.tokenize(text))
            else:
                text = tuple(tokenize_pair(model, embed.query, text, self.engine.pair_template))
        if not text:
            raise UsageError("a text is empty", "leave it out")
        if len(text) > n_ctx:
            raise _too_long(f"{len(text)} tokens", len(text), n_ctx)
        check_tokens(model, text)
        return list(text)

    def _compute(self) -> list[Told]:
        """The vectors of the next texts, whoever's they are."""
        batch: list[tuple[_Under, list[int]]] = []
        rows = 0
        most = max(_BATCH_TOKENS, len(self._under[0].texts[len(self._under[0].vectors)]))
        for one in self._under:
            for text in one.texts[len(one.vectors) :]:
                if len(batch) == MOST_TEXTS or rows + len(text) > min(most, self.engine.n_ctx):
                    break
                batch.append((one, text))
                rows += len(text)
        before = perf_counter()
        try:
            vectors = self.engine.context.embed([text for _, text in batch])
        except EdgespecError as error:
            failed = {one.embed.id for one, _ in batch}
            self._under = [one for one in self._under if one.embed.id not in failed]
            return [refusal_of(number, error, self.engine.n_ctx) for number in failed]
        self._read_n += rows
        self._read_s += perf_counter() - before
        self._passes += 1
        for (one, _), vector in zip(batch, vectors, strict=True):
            one.vectors.append(_scaled(vector, one.embed))
        done = [one for one in self._under if len(one.vectors) == len(one.texts)]
        self._under = [one for one in self._under if len(one.vectors) < len(one.texts)]
        return [
            Embedded(
                one.embed.id,
                tuple(vector.astype("<f4").tobytes() for vector in one.vectors),
                sum(map(len, one.texts)),
            )
            for one in done
        ]

    def _figures(self, number: int) -> Figures:
        return Figures(
            number,
            answering_n=len(self._under),
            waiting_n=0,
            cells_n=0,
            cells_used_n=0,
            held_n=0,
            held_bytes=0,
            prompt_n=self._read_n,
            cached_n=0,
            prefill_s=self._read_s,
            predicted_n=0,
            decode_s=0.0,
            target_passes=self._passes,
            by_source={},
            plain_step_s=0.0,
            memory_bytes=resident_bytes(),
        )

    def close(self) -> None:
        """Frees the model. A second call does nothing."""
        self._inbox.clear()
        self._under.clear()
        self.engine.close()


def _too_long(length: str, n_tokens: int, n_ctx: int) -> ContextOverflowError:
    said = f"a text has {length} and the context {n_ctx}"
    return ContextOverflowError(said, "use a shorter text", n_tokens=n_tokens)


def _scaled(vector: Vectors, embed: Embed) -> Vectors:
    """A vector, cut and scaled as it was asked for.

    3, 4, 5 cut to two numbers and scaled to a length of 1 is 0.6, 0.8.
    """
    cut = vector[: embed.dimensions] if embed.dimensions else vector
    numbers = cut.astype(np.float64)
    match embed.norm:
        case -1:
            return cut
        case 0:
            scale = float(np.abs(numbers).max()) / _INT16
        case _:
            scale = float((np.abs(numbers) ** embed.norm).sum() ** (1 / embed.norm))
    scaled: Vectors = (numbers / scale if scale else numbers).astype(np.float32)
    return scaled
