"""Many sequences in one KV cache: a decode takes a row of each, or several."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import ContextOverflowError, EngineError
from edgespec.llama.context_errors import decode_error
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.native_context import NativeContext
from edgespec.llama.row_batch import Ints
from edgespec.llama.sequence_state import read_sequence, write_sequence

STREAM_PAD = 256
"""A sequence's own part of a cache is a multiple of that many tokens (llama-context.cpp, n_ctx_seq)."""


class SequencesContext(NativeContext):
    """`settings.n_sequences` sequences of tokens in one cache.

    `lengths[s]`, of `[n_sequences]`, is how many tokens the cache holds of sequence s. `rows[s]`, of `[n_sequences]`, is
    the row of the last decode's logits that is for sequence s, after `start` and `step`: after three equal prompts, which
    are evaluated once, it is 0, 0, 0; after different ones, and after every step, 0, 1, 2.

    Args:
        model: Loaded with its weights; freed after this.
        settings: Of as many sequences as there are answers.

    Raises:
        NotEnoughMemoryError: llama.cpp could not allocate the cache or its buffers.
        UsageError: the model cannot have a cache of that type.
        EngineError: another refusal, in llama.cpp's words.
    """

    def __init__(self, model: Model, settings: ContextSettings) -> None:
        super().__init__(model, settings)
        self.lengths: Ints = np.zeros(settings.n_sequences, np.int32)
        self._everyone: Ints = np.arange(settings.n_sequences, dtype=np.int32)
        self.rows: Ints = self._everyone
        self._held = [self._sequence_memory(sequence) for sequence in range(settings.n_sequences)]
        self._texts: list[list[int]] = [[] for _ in self._held]
        """What each sequence is to hold, where the memory may have to read it again."""

    def start(self, prompts: Sequence[Sequence[int]]) -> None:
        """Forgets everything and evaluates a prompt for every sequence; leaves the logits after each.

        What all of them share is evaluated once. Different prompts are evaluated together, in batches that fit.

        Args:
            prompts: One for each sequence, of a token at least.

        Raises:
            ContextOverflowError: they do not fit the context.
            EngineError: llama.cpp failed.
        """
        self.clear()
        if all(prompt == prompts[0] for prompt in prompts[1:]):
            self._start_shared(prompts[0])
            return
        # Logits live until the next batch: those after the prompts are made together in one of their own.
        tokens = np.concatenate([np.asarray(prompt[:-1], np.int32) for prompt in prompts])
        self._read(tokens, np.repeat(self._everyone, [len(prompt) - 1 for prompt in prompts]))
        self.step(np.asarray([prompt[-1] for prompt in prompts], np.int32))

    def fill(self, prompt: Sequence[int]) -> None:
        """Forgets everything and gives every sequence cells of its own that hold `prompt`, which is evaluated once.

        Raises:
            ContextOverflowError: they do not fit the context.
            EngineError: llama.cpp cannot copy this model's cache.
        """
        self.clear()
        tokens = np.asarray(prompt, np.int32)
        self._read(tokens, np.zeros(len(tokens), np.int32))
        data = read_sequence(self._lib, self.handle, 0)
        for sequence in self._everyone[1:].tolist():
            write_sequence(self._lib, self.handle, sequence, data)
        self._hold_all(prompt)

    def step(self, tokens: Ints) -> None:
        """Evaluates one token of every sequence, `[n_sequences]`, and leaves logits in that order.

        Raises:
            ContextOverflowError: they do not fit the context.
            EngineError: llama.cpp failed.
        """
        self.decode(tokens, self._everyone, np.ones(len(tokens), np.bool_))
        self.rows = self._everyone

    def decode(self, tokens: Ints, sequences: Ints, outputs: NDArray[np.bool_]) -> None:
        """Evaluates rows after what the cache holds of their sequences, as one batch.

        Two tokens of sequence 0 and one of sequence 2, with logits after each sequence's last: tokens 5, 6, 9, sequences
        0, 0, 2 and outputs 0, 1, 1. The logits are `[2, n_vocab]`, in the order of the rows.

        Args:
            tokens: `[n_rows]`, at most `settings.n_batch`.
            sequences: Whose token each is, `[n_rows]`; those of one sequence stand side by side, in order.
            outputs: Where logits are wanted, `[n_rows]`; at most `settings.n_outputs_max`.

        Raises:
            ContextOverflowError: the rows do not fit the context.
            EngineError: llama.cpp failed; the cache is left as it was before.
        """
        rows, n_outputs = len(tokens), int(outputs.sum())
        if not 0 < rows <= self.settings.n_batch or n_outputs > self.settings.n_outputs_max:
            raise EngineError(
                f"{rows} rows with {n_outputs} outputs are not a batch", "please report this defect"
            )
        counts = np.bincount(sequences, minlength=len(self.lengths)).astype(np.int32)
        longest = int((self.lengths + counts).max())
        if longest > self.n_ctx:
            raise ContextOverflowError(
                f"{longest} tokens do not fit a context of {self.n_ctx}", "use shorter prompts or answers"
            )
        self._read_again(sequences)
        self._run(tokens, sequences, outputs)
        self.lengths += counts
        if not self.abilities.keeps_all:
            for token, sequence in zip(tokens.tolist(), sequences.tolist(), strict=True):
                self._texts[sequence].append(token)
        self.n_outputs = n_outputs

    def _run(self, tokens: Ints, sequences: Ints, outputs: NDArray[np.bool_]) -> None:
        """Decodes rows behind what the memory holds of their sequences."""
        batch, rows = self._batch, len(tokens)
        present, counts = np.unique(sequences, return_counts=True)
        held = np.array([one.n_held for one in self._held], np.int32)
        batch.tokens[:rows] = tokens
        batch.sequences[:rows] = sequences
        batch.positions[:rows] = held[sequences] + _places_in_sequence(sequences)
        batch.outputs[:rows] = outputs
        code = self._compute(rows)
        snapshots = has_snapshots(counts)
        for sequence, count in zip(present.tolist(), counts.tolist(), strict=True):
            memory = self._held[sequence]
            if code:
                memory.take_back(memory.n_held, is_damaged=True)
            else:
                memory.count(count, has_snapshots=snapshots)
        if code:
            raise decode_error(code, rows, self.n_ctx)

    def _read_again(self, sequences: Ints) -> None:
        """Reads again what is wanted of some sequences and not held."""
        if self.abilities.keeps_all:
            return
        tokens: list[int] = []
        whose: list[int] = []
        for sequence in np.unique(sequences).tolist():
            unread = self._texts[sequence][self._held[sequence].n_held :]
            tokens += unread
            whose += [sequence] * len(unread)
        step = self.settings.n_batch
        for start in range(0, len(tokens), step):
            rows = np.array(tokens[start : start + step], np.int32)
            self._run(rows, np.array(whose[start : start + step], np.int32), np.zeros(len(rows), np.bool_))

    def mark(self, sequences: Ints, counts: Ints | None) -> None:
        """Before a decode of some sequences of which all rows but the first of each may be taken back.

        Args:
            sequences: Which, `[n]`.
            counts: Rows of each, `[n]`; None for decodes of a row each, of which all may be taken back.

        Raises:
            EngineError: llama.cpp failed.
        """
        rows = None if counts is None or not has_snapshots(counts) else int(counts.max())
        if self._held[0].wants_mark(rows):
            self._read_again(sequences)
            for sequence in sequences.tolist():
                self._held[sequence].mark()

    def rollback(self, sequence: int, n_past: int) -> None:
        """Forgets what a sequence holds from position `n_past` on; some memories forget more, and read that again.

        Raises:
            EngineError: llama.cpp failed.
        """
        if n_past < self.lengths[sequence]:
            self._held[sequence].take_back(n_past)
            self.lengths[sequence] = n_past
            del self._texts[sequence][n_past:]

    def clear(self) -> None:
        """Forgets everything."""
        self._lib.llama_memory_clear(self._memory, False)
        self._hold_all([])

    def _hold_all(self, tokens: Sequence[int]) -> None:
        """Every sequence holds the same."""
        for memory in self._held:
            memory.hold(len(tokens))
        self._texts = [[] if self.abilities.keeps_all else list(tokens) for _ in self._held]
        self.lengths[:] = len(tokens)

    def _start_shared(self, prompt: Sequence[int]) -> None:
        tokens = np.asarray(prompt, np.int32)
        self._read(tokens, np.zeros(len(tokens), np.int32), ends=True)
        for sequence in self._everyone[1:].tolist():
            self._lib.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)
        self._hold_all(prompt)
        self.rows = np.zeros_like(self._everyone)

    def _read(self, tokens: Ints, sequences: Ints, *, ends: bool = False) -> None:
        """Evaluates rows in batches that fit; with `ends`, the last one with logits."""
        outputs = np.zeros(len(tokens), np.bool_)
        outputs[-1:] = ends
        step = self.settings.n_batch
        for start in range(0, len(tokens), step):
            rows = slice(start, start + step)
            self.decode(tokens[rows], sequences[rows], outputs[rows])


def cache_tokens(n_sequences: int, prompt_n: int, output_n: int, *, unified: bool, shared: bool) -> int:
    """`n_ctx` of a context for so many sequences, exactly.

    Four answers of 128 tokens to one prompt of 500 take 500 + 4 * 128 = 1012 in one cache, and 4 * 768 = 3072 in parts of
    their own.

    Args:
        n_sequences: How many.
        prompt_n: Tokens of a prompt.
        output_n: Tokens after it that the cache is to hold.
        unified: One cache for all; else each sequence has its own part, padded to `STREAM_PAD`.
        shared: All have the same prompt, which is held once where `unified`.
    """
    if unified:
        return prompt_n * (1 if shared else n_sequences) + n_sequences * output_n
    return n_sequences * -(-(prompt_n + output_n) // STREAM_PAD) * STREAM_PAD


def has_snapshots(counts: Sequence[int] | NDArray[np.integer]) -> bool:
    """Whether the snapshots of a decode are where they are looked for, by its rows of each sequence.

    llama.cpp computes sequences with as many rows each together and the others after them, and then states move to other
    cells and their snapshots stay: it goes on with another text (measured after a prompt that several sequences share).
    """
    return all(count == counts[0] for count in counts)


def _places_in_sequence(sequences: Ints) -> Ints:
    """The place of every row among those of its sequence in this batch, `[n_rows]`: 0, 1, 2, 0, 0, 1 for 4, 4, 4, 7, 5, 5."""
    rows = np.arange(len(sequences), dtype=np.int32)
    begins = np.ones(len(sequences), np.bool_)
    begins[1:] = sequences[1:] != sequences[:-1]
    places: Ints = rows - np.maximum.accumulate(np.where(begins, rows, 0))
    return places.astype(np.int32)
