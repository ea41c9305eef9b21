"""The sequences of a draft model, lent to answers as long as they last."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgespec.decode.drafters.llama_draft import LlamaDraft
from edgespec.decode.engines import shared_prefix
from edgespec.decode.tokenmap import Translator
from edgespec.llama.slots import Slots


@dataclass(slots=True, eq=False)
class Seat:
    """A draft with a sequence of its own, and the text that it drafted for last."""

    draft: LlamaDraft
    history: Sequence[int] = field(default_factory=list)


class Seats:
    """Lends them; an answer gets the one that has read most of its text.

    Args:
        slots: Of the draft; none of its sequences needs cells that another one may have.
        translator: Between the ids of target and draft.
        step_batch: As of `LlamaDraft`.
    """

    def __init__(self, slots: Slots, translator: Translator, step_batch: int) -> None:
        self.context = slots
        self.drafting_n = 0
        """Answers that shared the first pass of the last round."""
        self._free = [Seat(LlamaDraft(slot, translator, step_batch)) for slot in slots.slots]

    def take(self, history: Sequence[int]) -> Seat | None:
        """A seat for an answer; None where all are taken."""
        if not self._free:
            return None
        seat = max(reversed(self._free), key=lambda one: shared_prefix(one.history, history))
        self._free.remove(seat)
        return seat

    def give_back(self, seat: Seat, history: Sequence[int]) -> None:
        """The answer has ended."""
        seat.history = history
        self._free.insert(0, seat)
