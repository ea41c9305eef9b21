"""Taking tokens back out of a sequence's memory, on every kind of memory that llama.cpp has.

llama.cpp answers True to removals after which it writes another text: beyond a sliding window, of a whole decode, after
single rows, after a state was restored. So nothing is asked of it here that is not known to be right, and what it cannot do
is read again: `SequenceMemory.take_back` says how many tokens are left, and the context reads the others with its next decode.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from edgespec.errors import EngineError
from edgespec.kv_cells import window_cells
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.sequence_state import Bytes, read_sequence, write_sequence

MOST_CHECKPOINTS, MOST_CHECKPOINT_BYTES = 4, 2**28
"""Kept of a sequence beside that of the round, one for each of the last turns of a conversation: chosen, not measured."""
LONGEST_REPLAY = 16
"""Rows that a pass may read again besides its own; more are read in a pass of their own, once: as many as the longest draft."""


class Way(StrEnum):
    """How a memory takes tokens back."""

    CELLS = "cells"
    """Cells of a KV cache are dropped, however many."""
    WINDOW = "window"
    """The same, as far back as all that its window blocks see is still there."""
    SNAPSHOTS = "snapshots"
    """The recurrent state of the last few rows is kept beside the last one."""
    CHECKPOINTS = "checkpoints"
    """A copy of the recurrent state is put back, and what was right behind it is read again."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the memory of a loaded context can do.

    Attributes:
        way: How it takes tokens back.
        window: Tokens that window blocks see; 0 without such blocks.
        n_snapshots: Of `Way.SNAPSHOTS`: rows that can be taken back of a decode.
        is_short: Whether tokens outside the window may be gone.
    """

    way: Way
    window: int = 0
    n_snapshots: int = 0
    is_short: bool = False

    @property
    def pads(self) -> bool:
        """Whether rows can be added to a decode and taken back at once."""
        return self.way in (Way.CELLS, Way.WINDOW)

    @property
    def keeps_all(self) -> bool:
        """Whether every earlier place can be come back to without a copy."""
        return self.pads and not self.is_short

    @property
    def replays(self) -> bool:
        """Whether what was right in a draft of which something was wrong has to be read again."""
        return self.way is Way.CHECKPOINTS

    @property
    def most_drafted(self) -> int | None:
        """Rows behind the first one that a decode should have at most; None where there is no such bound."""
        return self.n_snapshots if self.way is Way.SNAPSHOTS else None


def find_abilities(lib: Any, model_handle: Any, context_handle: Any, settings: ContextSettings) -> Abilities:
    """What a context's memory can do, as llama.cpp says it itself.

    Args:
        lib: llama_cpp's declarations.
        model_handle: Of the model.
        context_handle: Of the context.
        settings: That it was made with.
    """
    window = max(int(lib.llama_model_n_swa(model_handle)), 0)
    is_short = window > 0 and _loses_tokens(settings, window)
    if lib.llama_model_is_recurrent(model_handle) or lib.llama_model_is_hybrid(model_handle):
        # Nobody says how far back what windows see is still there beside a recurrent state: a copy has it.
        n_snapshots = 0 if is_short else int(lib.llama_n_rs_seq(context_handle))
        return Abilities(Way.SNAPSHOTS if n_snapshots else Way.CHECKPOINTS, window, n_snapshots, is_short)
    return Abilities(Way.WINDOW if window else Way.CELLS, window, is_short=is_short)


def _loses_tokens(settings: ContextSettings, window: int) -> bool:
    """Whether tokens outside a window make place for others: in a shared cache they do for those of another sequence."""
    if settings.kv_unified and settings.n_sequences > 1:
        return True
    cells = window_cells(settings.n_ctx, window, settings.n_batch)
    return not settings.full_window and cells < settings.n_ctx


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What removing cells does not bring back, as it was after `n_past` tokens."""

    n_past: int
    data: Bytes


@dataclass(slots=True)
class SequenceMemory:
    """One sequence in the memory of a context. `n_held` is how many of its leading tokens the memory holds.

    Args:
        lib: llama_cpp's declarations.
        handle: Of the context.
        memory: Its memory (`llama_get_memory`).
        abilities: Of that memory.
        sequence: Its number.
        name: Of the model, for errors.
    """

    lib: Any
    handle: Any
    memory: Any
    abilities: Abilities
    sequence: int
    name: str
    n_held: int = 0
    _last_rows: int = 0
    """Of the last decode, if nothing was removed or restored since."""
    _round: Checkpoint | None = None
    _turns: list[Checkpoint] = field(default_factory=list)

    def count(self, rows: int, *, has_snapshots: bool = True) -> None:
        """A decode has added that many rows.

        Args:
            rows: Of this sequence.
            has_snapshots: Whether those of this decode can be used, if it made any.
        """
        self.n_held += rows
        self._last_rows = rows if has_snapshots else 0

    def hold(self, n_tokens: int) -> None:
        """The memory has got another content, of so many tokens, from outside."""
        self.forget()
        self.n_held = n_tokens

    def forget(self) -> None:
        """The memory was emptied."""
        self.n_held = self._last_rows = 0
        self._round = None
        self._turns.clear()

    def wants_mark(self, rows: int | None) -> bool:
        """Whether only a mark lets all rows but the first of such a decode be taken back; None for rows without snapshots."""
        if self.abilities.way is Way.SNAPSHOTS:
            return rows is None or rows - 1 > self.abilities.n_snapshots
        return self.abilities.replays

    def mark(self) -> None:
        """What is held now can be come back to until the next mark.

        Raises:
            EngineError: llama.cpp copied only a part.
        """
        if self._round is None or self._round.n_past != self.n_held:
            self._round = self._checkpoint()

    def keep(self) -> None:
        """What is held now can be come back to for as long as it is a beginning of what is wanted: the end of a turn.

        Raises:
            EngineError: llama.cpp copied only a part.
        """
        turns = self._turns
        if self.abilities.keeps_all or not self.n_held or any(one.n_past == self.n_held for one in turns):
            return
        turns.append(self._checkpoint())
        while len(turns) > MOST_CHECKPOINTS or sum(one.data.nbytes for one in turns) > MOST_CHECKPOINT_BYTES:
            del turns[0]

    def reach(self, n_past: int) -> int:
        """How many tokens the memory would hold after `take_back`."""
        if n_past >= self.n_held:
            return self.n_held
        if self._can_remove(n_past):
            return n_past
        found = self._find(n_past)
        return found.n_past if found else 0

    def take_back(self, n_past: int, *, is_damaged: bool = False) -> None:
        """Forgets the tokens from position `n_past` on, and more where only an earlier state can be come back to.

        Args:
            n_past: Tokens that are wanted.
            is_damaged: Whether a decode did not come to its end: then what it wrote does not count.

        Raises:
            EngineError: llama.cpp does not do what it says it can.
        """
        if n_past >= self.n_held and not is_damaged:
            return
        n_past = min(n_past, self.n_held)
        is_whole = not is_damaged or self.abilities.pads
        if n_past and is_whole and self._can_remove(n_past):
            self._remove_from(n_past)
            self.n_held = n_past
        else:
            self._return_to(self._find(n_past))
        self._last_rows = 0
        self._drop_checkpoints(self.n_held)

    def _can_remove(self, n_past: int) -> bool:
        """Whether cells can be dropped, or a snapshot taken, with the right text after it."""
        abilities = self.abilities
        if abilities.way is Way.CELLS:
            return True
        if abilities.way is Way.WINDOW:
            first = int(self.lib.llama_memory_seq_pos_min(self.memory, self.sequence))
            return first <= max(n_past - abilities.window + 1, 0)
        back = self.n_held - n_past
        return back <= min(abilities.n_snapshots, self._last_rows - 1)

    def _find(self, n_past: int) -> Checkpoint | None:
        """The latest checkpoint at or before a position."""
        known = [*self._turns, *([self._round] if self._round else [])]
        return max((one for one in known if one.n_past <= n_past), key=lambda one: one.n_past, default=None)

    def _return_to(self, checkpoint: Checkpoint | None) -> None:
        """Restores first and removes then: the other order removes nothing, and a restored state alone looks right and is not."""
        if checkpoint is None:
            self.n_held = 0
            self._remove_from(0)
            return
        write_sequence(self.lib, self.handle, self.sequence, checkpoint.data, is_partial=True)
        self.n_held = checkpoint.n_past
        self._remove_from(checkpoint.n_past)

    def _drop_checkpoints(self, n_past: int) -> None:
        if self._round and self._round.n_past > n_past:
            self._round = None
        self._turns = [one for one in self._turns if one.n_past <= n_past]

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self.n_held, read_sequence(self.lib, self.handle, self.sequence, is_partial=True))

    def _remove_from(self, position: int) -> None:
        if not self.lib.llama_memory_seq_rm(self.memory, self.sequence, position, -1):
            raise EngineError(
                f"{self.name} cannot take tokens back from its memory",
                "run it with `draft` none: speculation needs a model that can",
            )
