"""The sequences of a cache: those of answers under way, and those of conversations that may go on.

A new prompt takes over the longest beginning that any of them holds, so that only what is new is read. Where room is short, what
was used least recently goes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgespec.decode.engines import LEAST_KEPT, TURN_END, shared_prefix
from edgespec.llama.slots import Slot, Slots

_LOST_IN_PLACE = 16
"""Tokens of a conversation that may be overwritten by the text that goes on from it: more are kept beside it, in cells that both share
as far as they are alike."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a part of a prompt is held."""

    slot: Slot
    n_tokens: int


class Pool:
    """Lends sequences.

    Args:
        slots: All of them, empty.
    """

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self._free = list(reversed(slots.slots))
        self._idle: dict[Slot, None] = {}
        """Held for later, the least recently used first."""
        self._used: dict[Slot, None] = {}

    @property
    def held_n(self) -> int:
        """Conversations that are held for later."""
        return len(self._idle)

    @property
    def available_n(self) -> int:
        """Cells that no sequence in use holds."""
        used: set[int] = set()
        for slot in self._used:
            used.update(slot.cells)
        return self.slots.cells.count - len(used)

    @property
    def has_sequence(self) -> bool:
        """Whether another one can be lent."""
        return bool(self._free or self._idle)

    def find(self, text: Sequence[int]) -> Beginning | None:
        """The longest beginning of a text that is held, of which the last token is always read; None where there is none."""
        most = len(text) - 1
        best = None
        for slot in (*self._idle, *self._used):
            count = min(shared_prefix(slot.tokens, text), most)
            count = self._usable(slot, count, most)
            if count and (best is None or count > best.n_tokens):
                best = Beginning(slot, count)
        return best

    def _usable(self, slot: Slot, count: int, most: int) -> int:
        """How much of what is alike can be gone on from."""
        if slot.abilities.keeps_all:
            return count
        if slot in self._used:
            return count if count == len(slot.tokens) and slot.can_copy(slot, count) else 0
        if most - count > LEAST_KEPT:
            # What opens the answer is often another text in the next turn's prompt.
            count = min(count, max(most + 1 - TURN_END, 0))
        return min(slot.reach(count), count)

    def take(self, text: Sequence[int]) -> Slot:
        """A sequence that holds as much of the beginning of a text as is held anywhere, and nothing else.

        There has to be one (`has_sequence`).

        Raises:
            EngineError: llama.cpp failed.
        """
        found = self.find(text)
        if found is None:
            slot = self._empty()
        elif self._goes_on_in_place(found):
            slot = found.slot
            del self._idle[slot]
            slot.rollback_held(found.n_tokens)
        else:
            slot = self._empty(other_than=found.slot)
            slot.copy(found.slot, found.n_tokens)
        self._used[slot] = None
        return slot

    def _goes_on_in_place(self, found: Beginning) -> bool:
        slot, count = found.slot, found.n_tokens
        if slot not in self._idle:
            return False
        is_alone = not self._free and len(self._idle) == 1
        lost = len(slot.tokens) - count
        return lost <= _LOST_IN_PLACE or is_alone or not slot.can_copy(slot, count)

    def _empty(self, other_than: Slot | None = None) -> Slot:
        if not self._free:
            self._forget(next(slot for slot in self._idle if slot is not other_than))
        return self._free.pop()

    def _forget(self, slot: Slot) -> None:
        del self._idle[slot]
        slot.clear()
        self._free.append(slot)

    def give_back(self, slot: Slot, *, is_damaged: bool = False) -> None:
        """An answer has ended: its text is held for the next one, unless nobody knows what the cache holds of it."""
        del self._used[slot]
        if slot.tokens and not is_damaged:
            self._idle[slot] = None
        else:
            slot.clear()
            self._free.append(slot)

    def make_room(self, count: int) -> bool:
        """Forgets what was used least recently until so many cells are free; whether they are."""
        cells = self.slots.cells
        while cells.free_n < count and self._idle:
            self._forget(next(iter(self._idle)))
        return cells.free_n >= count
