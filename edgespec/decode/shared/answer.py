"""One answer of several that are computed together: it waits, reads its prompt, and writes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from edgespec.decode.course import Course
from edgespec.decode.policy import DraftingPolicy
from edgespec.decode.rounds import Rounds
from edgespec.decode.shared.picker import Picking, SlotPicker
from edgespec.decode.shared.seats import Seat
from edgespec.decode.token import GenerationStats
from edgespec.llama.slots import Slot


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of an answer."""

    prompt: Sequence[int]
    """Of a token at least, and fewer than a sequence may have."""
    max_tokens: int
    picking: Picking = field(default_factory=Picking)
    ignore_end: bool = False


class Answer:
    """An answer under way. `history` is its prompt and its tokens so far.

    Args:
        wanted: What is asked for.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.history = list(wanted.prompt)
        self.stats = GenerationStats(prompt_n=len(self.history))
        self.is_picked = False
        """Whether the token behind what has to be read is known: else it is picked when all is read."""
        self.is_writing = False
        self.slot: Slot | None = None
        self.seat: Seat | None = None
        self.course: Course | None = None
        self.picker: SlotPicker | None = None
        self.rounds: Rounds | None = None
        self.policy: DraftingPolicy | None = None
        self.cached_n = 0
        """Tokens of the prompt that were held when it began to be read."""
        self.began_s = self.told_s = 0.0
        """When its prompt began to be read, and when its last tokens came."""
        self.kept_to = 0
        """Where its prompt is worth a copy of a state that cannot be gone back to; 0 for nowhere."""

    @property
    def readable_n(self) -> int:
        """Tokens of the history that have to be in the cache before the next round."""
        return len(self.history) - self.is_picked

    @property
    def unread_n(self) -> int:
        """Of these, the ones that are not."""
        return self.readable_n - (len(self.slot.tokens) if self.slot else 0)

    def take(self, token: int) -> str:
        """The target's next token joins the answer; the characters that it completes. `stats.stopped` says if it is the last one."""
        assert self.course
        text = self.course.take(token)
        self.history.append(token)
        return text

    def insert(self, tokens: Sequence[int]) -> None:
        """Tokens join the answer as if the target had picked them; they and what else is unread are read next.

        What does not fit the context is left out.
        """
        assert self.slot and self.course
        taken_n = len(self.history)
        if len(tokens) < self.slot.n_ctx - taken_n:
            self.history += tokens
        # What came behind the last token that was taken does not count, and the last one of all is read for its logits.
        self.slot.rollback_held(min(taken_n, len(self.history) - 1))
        self.course.narrow(self.slot.n_ctx - len(self.history))
        self.is_picked = self.is_writing = False

    def count_time(self) -> float:
        """Books the seconds since its last tokens, and returns them."""
        now = perf_counter()
        seconds = now - self.told_s
        self.stats.decode_s += seconds
        self.told_s = now
        return seconds
