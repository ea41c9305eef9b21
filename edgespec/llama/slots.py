"""Sequences that come and go in one KV cache: a decode takes rows of whichever are at work."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

import numpy as np

from edgespec.errors import ContextOverflowError, EngineError
from edgespec.llama.cells import Cells
from edgespec.llama.context import SavedCache, best_of
from edgespec.llama.context_errors import decode_error, overflow_error
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.native_context import Logits, NativeContext
from edgespec.llama.rollback import LONGEST_REPLAY, Abilities, SequenceMemory
from edgespec.llama.sequence_state import Bytes, read_sequence, write_sequence
from edgespec.llama.sequences import has_snapshots
from edgespec.llama.shortlist import Shortlist


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one sequence in a decode."""

    slot: "Slot"
    tokens: Sequence[int]
    outputs: int = 1
    """Logits are computed for that many rows at its end; 0 for none."""


class Slots(NativeContext):
    """`settings.n_sequences` sequences in one cache of `n_ctx` cells.

    Args:
        model: Loaded with its weights; freed after this.
        settings: With `kv_unified`.
        n_each: Tokens that one sequence may have; None for as many as there are cells.
        shortlists: One for each sequence, or none: only the logits of their tokens are computed.

    Raises:
        NotEnoughMemoryError: llama.cpp could not allocate the cache or its buffers.
        UsageError: the model cannot have a cache of that type.
        EngineError: another refusal, in llama.cpp's words.
    """

    def __init__(
        self,
        model: Model,
        settings: ContextSettings,
        n_each: int | None = None,
        shortlists: Sequence[Shortlist] = (),
    ) -> None:
        super().__init__(model, settings)
        self.cells = Cells(int(self._lib.llama_n_ctx(self.handle)))
        self.n_each = min(n_each or self.n_ctx, self.n_ctx)
        self._counting = np.arange(self.n_ctx + settings.n_batch, dtype=np.int32)
        lists: Sequence[Shortlist | None] = shortlists or [None] * settings.n_sequences
        self.slots = [
            Slot(self, self._sequence_memory(number), shortlist) for number, shortlist in enumerate(lists)
        ]

    def decode(self, parts: Sequence[Part], pad_to: int = 0) -> int:
        """Evaluates the rows of several sequences as one batch, before them what has to be read again of each.

        Args:
            parts: Of sequences unlike each other, `settings.n_batch` rows in all at most.
            pad_to: Adds rows without logits to the last part up to this batch size and takes them back at once, as in
                `Context.decode`.

        Returns:
            The rows of the batch.

        Raises:
            ContextOverflowError: the rows do not fit.
            EngineError: llama.cpp failed; the cache is left as it was before.
        """
        rows = self._fill(parts)
        padded = rows
        last = parts[-1].slot
        if self.abilities.pads and rows < pad_to <= min(rows + self.cells.free_n, self.settings.n_batch):
            padded = pad_to
            self._pad(last, rows, padded)
        with self._listed(parts):
            code = self._compute(padded)
        if code:
            for part in parts:
                part.slot.memory.take_back(part.slot.memory.n_held, is_damaged=True)
            raise decode_error(code, padded, self.n_ctx)
        self._book(parts)
        if padded > rows:
            last.memory.count(padded - rows)
            last.memory.take_back(len(last.tokens))
        return padded

    def _fill(self, parts: Sequence[Part]) -> int:
        """Puts the rows into the batch; returns how many there are."""
        batch, counting = self._batch, self._counting
        at = n_outputs = 0
        most, free = self.settings.n_batch, self.cells.free_n
        for part in parts:
            slot, tokens = part.slot, part.tokens
            held = slot.memory.n_held
            if held < len(slot.tokens):
                tokens = [*slot.tokens[held:], *tokens]
            count = len(tokens)
            end = at + count
            slot.check_room(len(part.tokens))
            free -= len(part.tokens)
            if end > most or not 0 <= part.outputs <= len(part.tokens):
                raise EngineError(
                    f"{end} rows with {part.outputs} outputs are not a batch", "please report this defect"
                )
            batch.tokens[at:end] = tokens
            batch.positions[at:end] = counting[held : held + count]
            batch.sequences[at:end] = slot.number
            batch.outputs[at:end] = 0
            if part.outputs:
                batch.outputs[end - part.outputs : end] = 1
            slot.first_output, slot.n_outputs = n_outputs, part.outputs
            n_outputs += part.outputs
            at = end
        if free < 0:
            raise ContextOverflowError(
                f"no room for {-free} more tokens in a cache of {self.cells.count}", "use a larger `ctx_size`"
            )
        if n_outputs > self.settings.n_outputs_max:
            raise EngineError(f"{n_outputs} rows of logits are too many", "please report this defect")
        self.n_outputs = n_outputs
        return at

    def _pad(self, slot: "Slot", rows: int, padded: int) -> None:
        batch = self._batch
        batch.tokens[rows:padded] = batch.tokens[rows - 1]
        first = batch.positions[rows - 1] + 1
        batch.positions[rows:padded] = np.arange(first, first + padded - rows, dtype=np.int32)
        batch.sequences[rows:padded] = slot.number
        batch.outputs[rows:padded] = 0

    def _listed(self, parts: Sequence[Part]) -> AbstractContextManager[None]:
        """Restricts logits to what any of the sequences lists."""
        shortlist = parts[0].slot.shortlist
        if shortlist is None:
            return nullcontext()
        if len(parts) > 1:
            others = (part.slot.shortlist for part in parts[1:])
            shortlist = shortlist.joined(other for other in others if other)
        return shortlist.applied()

    def _book(self, parts: Sequence[Part]) -> None:
        """What the memory holds now."""
        counts = [len(part.slot.tokens) - part.slot.memory.n_held + len(part.tokens) for part in parts]
        snapshots = len(parts) == 1 or has_snapshots(counts)
        for part, count in zip(parts, counts, strict=True):
            slot = part.slot
            slot.memory.count(count, has_snapshots=snapshots)
            slot.tokens.extend(part.tokens)
            slot.cells.extend(self.cells.take(len(part.tokens)))

    def copy_sequence(self, source: int, to: int, n_tokens: int) -> None:
        """A sequence, which is empty, gets the first cells of another one."""
        whole = n_tokens if self.abilities.keeps_all else -1
        self._lib.llama_memory_seq_cp(self._memory, source, to, 0 if self.abilities.keeps_all else -1, whole)

    def read(self, sequence: int) -> Bytes:
        """A copy of a sequence (`read_sequence`)."""
        return read_sequence(self._lib, self.handle, sequence)

    def write(self, sequence: int, saved: SavedCache) -> None:
        """Puts a copy into a sequence, which is empty; it is empty again where that fails.

        Raises:
            EngineError: llama.cpp cannot take it.
        """
        try:
            write_sequence(self._lib, self.handle, sequence, saved.data)
        except EngineError:
            self._lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            raise

    def clear(self) -> None:
        """Forgets everything."""
        for slot in self.slots:
            slot.clear()


class Slot:
    """One sequence of several in a cache, as `Context` is one alone. `tokens` is what the cache is to hold of it."""

    def __init__(self, context: Slots, memory: SequenceMemory, shortlist: Shortlist | None = None) -> None:
        self.context, self.memory, self.shortlist = context, memory, shortlist
        self.number = memory.sequence
        self.tokens: list[int] = []
        self.cells: list[int] = []
        self.first_output = self.n_outputs = 0
        """Its rows of the last decode's logits."""

    @property
    def model(self) -> Model:
        """Whose cache it is in."""
        return self.context.model

    @property
    def settings(self) -> ContextSettings:
        """Those of all sequences together."""
        return self.context.settings

    @property
    def abilities(self) -> Abilities:
        """What the memory can do."""
        return self.context.abilities

    @property
    def n_ctx(self) -> int:
        """Tokens that it may have."""
        return self.context.n_each

    @property
    def free_tokens(self) -> int:
        """Tokens that it may still get, as far as the others leave room."""
        return self.context.n_each - len(self.tokens)

    @property
    def n_unread(self) -> int:
        """Tokens that the next decode reads again before its own."""
        return len(self.tokens) - self.memory.n_held

    def check_room(self, count: int) -> None:
        """Makes sure that so many more tokens are allowed.

        Raises:
            ContextOverflowError: they are not.
        """
        if count > self.free_tokens:
            raise overflow_error(len(self.tokens) + count, self.n_ctx)

    def decode(self, tokens: Sequence[int], *, outputs: int = 1, pad_to: int = 0) -> int:
        """Evaluates rows of this sequence alone; see `Context.decode`."""
        self.read_again(self.settings.n_batch - len(tokens))
        return self.context.decode([Part(self, tokens, outputs)], pad_to)

    def prefill(self, tokens: Sequence[int]) -> None:
        """Evaluates a prompt alone, in batches; logits of its last token only."""
        step = self.settings.n_batch
        for start in range(0, len(tokens), step):
            self.decode(tokens[start : start + step])

    def read_again(self, most: int) -> None:
        """Reads again what is wanted and not held, if more than `most` tokens are."""
        if self.n_unread <= most:
            return
        wanted = self.tokens[self.memory.n_held :]
        self._drop(self.memory.n_held)
        step = self.settings.n_batch
        for start in range(0, len(wanted), step):
            self.context.decode([Part(self, wanted[start : start + step], 0)])

    def logits(self, rows: int = 1) -> Logits:
        """Its logits of the last decode, `[rows, n_vocab]`: a view, valid until the next one."""
        first = self.first_output
        return self.context.logits(self.context.n_outputs)[first : first + rows]

    def best_guess(self) -> tuple[int, float]:
        """The best token after its last row, and its lead; see `Context.best_guess`."""
        return best_of(self.logits(1)[0], self.shortlist)

    def mark(self, rows: int | None) -> None:
        """Before a decode of which all rows but the first may be taken back; see `Context.mark`."""
        if self.memory.wants_mark(rows):
            self.read_again(LONGEST_REPLAY)
            self.memory.mark()

    def keep(self) -> None:
        """Makes sure that what is held now can be come back to later without reading it again."""
        self.read_again(0)
        self.memory.keep()

    def reach(self, n_past: int) -> int:
        """Tokens that the cache would hold after `rollback(n_past)`."""
        return self.memory.reach(n_past)

    def rollback(self, n_past: int) -> None:
        """Forgets all tokens from position `n_past` on; see `Context.rollback`."""
        if n_past < len(self.tokens):
            self.memory.take_back(n_past)
            self._drop(n_past)

    def rollback_held(self, n_past: int) -> None:
        """The same, and forgets what would have to be read again: `tokens` is then no more than the memory holds."""
        self.rollback(n_past)
        self._drop(self.memory.n_held)

    def _drop(self, n_past: int) -> None:
        self.context.cells.give_back(self.cells[n_past:])
        del self.tokens[n_past:], self.cells[n_past:]

    def can_copy(self, other: "Slot", n_tokens: int) -> bool:
        """Whether the beginning of another sequence can be held here too, in the same cells."""
        if self.abilities.keeps_all:
            return n_tokens <= other.memory.n_held
        return n_tokens == other.memory.n_held == len(other.tokens)

    def copy(self, other: "Slot", n_tokens: int) -> None:
        """Holds the beginning of another sequence, in the same cells, and nothing else."""
        self.clear()
        context = self.context
        context.copy_sequence(other.number, self.number, n_tokens)
        self.memory.hold(n_tokens)
        self.tokens, self.cells = other.tokens[:n_tokens], other.cells[:n_tokens]
        context.cells.share(self.cells)

    def save(self) -> SavedCache:
        """A copy of all that the cache holds of it.

        Raises:
            EngineError: llama.cpp copied only a part.
        """
        data = self.context.read(self.number)
        return SavedCache(tuple(self.tokens[: self.memory.n_held]), data)

    def restore(self, saved: SavedCache) -> None:
        """Holds what was saved, and nothing else.

        Raises:
            ContextOverflowError: it does not fit.
            EngineError: llama.cpp cannot take it; the sequence is empty then.
        """
        self.clear()
        self.check_room(len(saved.tokens))
        if len(saved.tokens) > self.context.cells.free_n:
            raise ContextOverflowError(
                f"no room for {len(saved.tokens)} tokens in the cache", "use a larger `ctx_size`"
            )
        self.context.write(self.number, saved)
        self.tokens.extend(saved.tokens)
        self.cells = self.context.cells.take(len(self.tokens))
        self.memory.hold(len(self.tokens))

    def gather(self) -> None:
        """Moves what it holds to the first free cells, in the order of the text, with all free ones behind it.

        There have to be as many as it has tokens. Where llama.cpp fails it is empty.
        """
        with suppress(EngineError):
            self.restore(self.save())

    def clear(self) -> None:
        """Forgets everything."""
        self.memory.take_back(0)
        self.memory.forget()
        self._drop(0)
