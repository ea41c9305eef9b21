"""The sequences of a cache: those of answers under way, and those of conversations that may go on.

A new prompt takes over the longest beginning that any of them holds, so that only what is new is read. Where room is short, what
was used least recently goes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgespec.decode.engines import LEAST_KEPT, TURN_END, shared_prefix
from edgespec.decode.shared.kept import KeptTexts
from edgespec.errors import EdgespecError
from edgespec.llama.context import SavedCache
from edgespec.llama.slots import Slot, Slots

_LOST_IN_PLACE = 16
"""Tokens of a conversation that may be overwritten by the text that goes on from it: more are kept beside it, in cells that both share
as far as they are alike."""

_NEXT_PROMPT, _NEXT_SHARE = 512, 4
"""Tokens, a batch of them, that there is room for beforehand; of a small cache a quarter at most."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a part of a prompt is held."""

    slot: Slot
    n_tokens: int


class Pool:
    """Lends sequences.

    Args:
        slots: All of them, empty.
        kept: Where conversations go that have to make room.
        idle_cells: What conversations that wait may take of the cache beside the last one; others go to `kept`. None for any number.
    """

    def __init__(self, slots: Slots, kept: KeptTexts | None = None, idle_cells: int | None = None) -> None:
        self.slots, self._idle_cells = slots, idle_cells
        self.kept = KeptTexts(0) if kept is None else kept
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
        slot = self._bring_back(text, found.n_tokens if found else 0)
        if slot is None:
            slot = self._take_over(found) if found else self._empty()
        self._used[slot] = None
        return slot

    def _take_over(self, found: Beginning) -> Slot:
        """A sequence that holds a beginning, and nothing else; what is too short to be worth its place may be left to be read again."""
        slot, count = found.slot, found.n_tokens
        is_in_place, is_moved = self._goes_on_in_place(found), self._has_to_move(found)
        if is_in_place:
            del self._idle[slot]
            slot.rollback_held(count)
        elif is_moved and count < LEAST_KEPT:
            return self._empty()
        else:
            slot = self._empty(other_than=slot)
            slot.copy(found.slot, count)
        if is_moved:
            slot.gather()
        return slot

    def _has_to_move(self, found: Beginning) -> bool:
        """Whether what is written behind a beginning would lie before it in the cache, and nobody writes beside it.

        Attention adds up what a row sees in the order of the cells, and so the last bits of logits hang on that order.
        """
        slots, cells = self.slots, found.slot.cells
        if self._used or not slots.abilities.keeps_all:
            return False
        return slots.cells.next_free < cells[found.n_tokens - 1] and slots.cells.free_n >= found.n_tokens

    def _bring_back(self, text: Sequence[int], n_held: int) -> Slot | None:
        """A sequence with what was kept of a text outside the cache, if that is worth it."""
        found = self.kept.find(text, whole=not self.slots.abilities.keeps_all)
        if found is None or found[1] < n_held + LEAST_KEPT:
            return None
        kept, count = found
        saved = self.kept.use(kept)
        if saved is None or not self.make_room(len(saved.tokens)):
            return None
        slot = self._empty()
        try:
            slot.restore(saved)
        except EdgespecError:
            slot.clear()
            self._free.append(slot)
            if kept in set(self.kept):
                self.kept.drop(kept)
            return None
        slot.rollback_held(count)
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
        if self.kept.limit_bytes and self._is_worth_keeping(slot):
            self.kept.put(slot.save())
        slot.clear()
        self._free.append(slot)

    def _is_worth_keeping(self, slot: Slot) -> bool:
        """Whether nothing else holds its text, which is long enough that it is better not read again."""
        slot.rollback_held(len(slot.tokens))
        tokens = slot.tokens
        if len(tokens) < LEAST_KEPT or self.kept.holds(tokens):
            return False
        others = [other for other in (*self._idle, *self._used) if other is not slot]
        return not any(shared_prefix(other.tokens, tokens) == len(tokens) for other in others)

    def keep_all(self) -> list[SavedCache]:
        """Copies of all conversations that are held for later, in the cache or outside of it, the most recently used last."""
        kept = [text.load() for text in self.kept if text.n_bytes]
        held = [slot.save() for slot in self._idle if self._is_worth_keeping(slot)]
        return [saved for saved in kept if saved] + held

    def give_back(self, slot: Slot, *, is_damaged: bool = False) -> None:
        """An answer has ended: its text is held for the next one, unless nobody knows what the cache holds of it."""
        del self._used[slot]
        if slot.tokens and not is_damaged:
            self._idle[slot] = None
            self._trim()
        else:
            slot.clear()
            self._free.append(slot)

    def _trim(self) -> None:
        """What waits is looked over by every row: all but some of it waits elsewhere."""
        if self._idle_cells is None:
            return
        while len(self._idle) > 1:
            cells: set[int] = set()
            for slot in list(self._idle)[:-1]:
                cells.update(slot.cells)
            if len(cells) <= self._idle_cells:
                return
            self._forget(next(iter(self._idle)))

    def rest(self) -> None:
        """Makes room for the next prompt while nobody waits for anything: what leaves the cache is copied first."""
        cells = self.slots.cells
        wanted_n = min(_NEXT_PROMPT, cells.count // _NEXT_SHARE)
        while self.kept.limit_bytes and not self._used and len(self._idle) > 1 and cells.free_n < wanted_n:
            self._forget(next(iter(self._idle)))

    def make_room(self, count: int) -> bool:
        """Forgets what was used least recently until so many cells are free; whether they are."""
        cells = self.slots.cells
        while cells.free_n < count and self._idle:
            self._forget(next(iter(self._idle)))
        return cells.free_n >= count
