"""Continuous batching: answers join and leave between rounds, and every round is one decode of the target for all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from edgespec.decode.costs import PairCosts
from edgespec.decode.course import Course
from edgespec.decode.drafters.contract import Drafter
from edgespec.decode.engines import LEAST_KEPT, TURN_END, shared_prefix
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.policy import DraftingPolicy
from edgespec.decode.rounds import Rounds
from edgespec.decode.shared.answer import Answer
from edgespec.decode.shared.picker import SlotPicker
from edgespec.decode.shared.pool import Pool
from edgespec.decode.shared.proposing import Proposer
from edgespec.decode.shared.reading import ReadingSpeed, round_s, share_out
from edgespec.decode.shared.seats import Seat, Seats
from edgespec.decode.token import DraftSource
from edgespec.errors import EdgespecError
from edgespec.llama.slots import Part, Slot

_WORTH_WAITING = 64
"""Tokens that another prompt is about to have read, from which on it is waited for."""

_ROOM_EACH = 32
"""Cells for what every answer writes next that have to be there before another one begins: bounds how often the youngest of them has
to wait again."""

_LOOKED_AT = 2
"""Of those that wait, as many times the answers that there is a place for: bounds the work of a round."""


@dataclass(frozen=True, slots=True)
class Got:
    """What a round brought an answer."""

    answer: Answer
    tokens: Sequence[int] = ()
    sources: Sequence[DraftSource] = ()
    """Who thought of each."""
    seconds: float = 0.0
    """Since its last tokens."""
    error: EdgespecError | None = None
    """It cannot go on."""


@dataclass(frozen=True, slots=True)
class Drafts:
    """What may draft for the answers of a batch."""

    make: Callable[[Seat | None, Constraint | None], Sequence[Drafter]]
    """The drafters of one answer, with a seat of the draft model or without, and what the answer has to fit."""
    make_policy: Callable[[], DraftingPolicy]
    seats: Seats | None = None


@dataclass(slots=True)
class BatchFigures:
    """What a batch has done."""

    prompt_n: int = 0
    cached_n: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    target_passes: int = 0


class Batch:
    """The answers of one target.

    Args:
        pool: Of the target's sequences.
        costs: Of the pair; corrected by every round.
        drafts: What drafts.
        n_parallel: Answers that are computed at a time; others wait.
    """

    def __init__(self, pool: Pool, costs: PairCosts, drafts: Drafts, n_parallel: int) -> None:
        self.pool, self.costs, self._drafts, self.n_parallel = pool, costs, drafts, n_parallel
        self._waiting: list[Answer] = []
        self._active: list[Answer] = []
        """Those that have a sequence, the oldest first."""
        self._proposer = Proposer(costs, drafts.seats)
        self._speed = ReadingSpeed(costs.verify)
        self.figures = BatchFigures()

    @property
    def waiting_n(self) -> int:
        """Answers that have not begun."""
        return len(self._waiting)

    @property
    def active_n(self) -> int:
        """Answers whose prompts are read or that are written."""
        return len(self._active)

    @property
    def active(self) -> Sequence[Answer]:
        """Those that have a sequence, the oldest first."""
        return self._active

    def add(self, answer: Answer) -> None:
        """One more: it begins as soon as there is a place."""
        self._waiting.append(answer)

    def end(self, answer: Answer, *, is_damaged: bool = False) -> None:
        """An answer is whole, or nobody wants it any more."""
        if answer in self._waiting:
            self._waiting.remove(answer)
        if answer in self._active:
            self._active.remove(answer)
            self._release(answer, is_damaged=is_damaged)
        if answer.picker:
            answer.picker.close()
        if answer.seat and self._drafts.seats:
            self._drafts.seats.give_back(answer.seat, answer.history)
            answer.seat = None

    def _release(self, answer: Answer, *, is_damaged: bool = False) -> None:
        if answer.slot:
            self.pool.give_back(answer.slot, is_damaged=is_damaged)
            answer.slot = None
        answer.is_writing = False

    def rest(self) -> None:
        """Does what would keep the next answer waiting; for when there is none."""
        if not self._waiting:
            self.pool.rest()

    def step(self) -> list[Got]:
        """One round of all: a decode at most.

        Returns:
            What came of it, of every answer that got a token or cannot go on; the caller ends these.
        """
        got = self._admit()
        began = perf_counter()
        parts: list[tuple[Answer, Part]] = []
        writing = [answer for answer in self._active if answer.is_writing]
        proposed, failed = self._proposer.propose(writing, self._rows_max())
        got += [Got(answer, error=error) for answer, error in failed]
        for answer, rows in proposed:
            slot = _slot_of(answer)
            try:
                if len(rows) > 1:
                    slot.mark(len(rows))
            except EdgespecError as error:
                got.append(Got(answer, error=error))
                continue
            parts.append((answer, Part(slot, rows, len(rows))))
        written_n = len(parts)
        parts += self._read(sum(len(part.tokens) for _, part in parts))
        parts = self._make_room(parts)
        if not parts:
            return got
        before = perf_counter()
        try:
            rows_n = self._decode([part for _, part in parts])
        except EdgespecError as error:
            return got + [Got(answer, error=error) for answer, _ in parts]
        written_n = min(written_n, sum(answer.is_writing for answer, _ in parts))
        tokens = [_verify(answer) for answer, _ in parts[:written_n]]
        seconds = perf_counter() - before
        self._observe(parts, written_n, rows_n, seconds)
        for (answer, _), picked in zip(parts, tokens, strict=False):
            answer.stats.verify_s += seconds
            if isinstance(picked, EdgespecError):
                got.append(Got(answer, error=picked))
                continue
            sources = _rounds_of(answer).learn(picked)
            got.append(Got(answer, picked, sources, answer.count_time()))
        for answer, _ in parts[written_n:]:
            try:
                got += self._advance(answer)
            except EdgespecError as error:
                got.append(Got(answer, error=error))
        self._book(written_n, perf_counter() - began)
        return got

    def _admit(self) -> list[Got]:
        """Gives sequences to those that wait, in their order, as far as there is room for what they have yet to read."""
        failed = []
        for answer in self._waiting[: _LOOKED_AT * self.n_parallel]:
            if len(self._active) >= self.n_parallel or not self.pool.has_sequence:
                break
            if self._active:
                found = self.pool.find(answer.history)
                held_n = found.n_tokens if found else 0
                if self._is_about_to_be_read(answer, held_n):
                    continue
                lacking = sum(one.unread_n for one in self._active) + _ROOM_EACH * (len(self._active) + 1)
                if lacking + len(answer.history) - held_n > self.pool.available_n:
                    break
            self._waiting.remove(answer)
            try:
                self._begin(answer)
            except EdgespecError as error:
                failed.append(Got(answer, error=error))
        return failed

    def _is_about_to_be_read(self, answer: Answer, held_n: int) -> bool:
        """Whether another answer is reading the same beginning, which can be shared once it is read."""
        if not self.pool.slots.abilities.keeps_all:
            return False
        for other in self._active:
            if other.unread_n > 0 and not other.is_writing:
                alike = min(shared_prefix(other.history, answer.history), len(answer.history) - 1)
                if alike > held_n and (alike - held_n >= _WORTH_WAITING or alike == len(answer.history) - 1):
                    return True
        return False

    def _begin(self, answer: Answer) -> None:
        answer.began_s = answer.began_s or perf_counter()
        slot = self.pool.take(answer.history)
        answer.slot = slot
        self._active.append(answer)
        if answer.picker is None:
            answer.picker = SlotPicker(answer.wanted.picking, slot.model.n_vocab, slot)
            answer.cached_n = len(slot.tokens)
            answer.stats.prompt_evaluated_n = len(answer.history) - len(slot.tokens)
            self.figures.prompt_n += len(answer.history)
            self.figures.cached_n += len(slot.tokens)
        answer.picker.slot = slot
        # One that had to wait may find all that it had.
        answer.is_writing = answer.is_picked and not answer.unread_n
        turn = len(answer.history) - TURN_END
        is_worth = answer.unread_n > LEAST_KEPT and not slot.abilities.keeps_all and turn > len(slot.tokens)
        answer.kept_to = turn if is_worth else 0

    def _rows_max(self) -> int:
        """Rows that may be proposed in a round, for all answers together."""
        settings = self.pool.slots.settings
        if len(self._active) == 1:
            return settings.n_outputs_max
        # Memories of which nothing can be taken back at once take a row of each. Those who begin want one each, too.
        rows_max = min(settings.n_outputs_max, settings.n_batch) - self.n_parallel
        return rows_max if self.pool.slots.abilities.pads else 1

    def _read(self, rows: int) -> list[tuple[Answer, Part]]:
        """Rows of prompts, as many as this round has time for."""
        reading = [answer for answer in self._active if not answer.is_writing]
        if not reading:
            return []
        most = self.pool.slots.settings.n_batch - rows
        if rows:
            step_s = self.costs.verify.cost(rows)
            most = min(most, self._speed.rows_in(round_s(step_s) - step_s))
        parts = []
        for answer, count in zip(reading, share_out(most, [one.unread_n for one in reading]), strict=True):
            slot = _slot_of(answer)
            start = len(slot.tokens)
            end = start + count
            if start < answer.kept_to < end:
                end = answer.kept_to
            ends = end == answer.readable_n and not answer.is_picked
            if end > start:
                parts.append((answer, Part(slot, answer.history[start:end], int(ends))))
        return parts

    def _make_room(self, parts: list[tuple[Answer, Part]]) -> list[tuple[Answer, Part]]:
        """The parts that there are cells for: the youngest answers wait again where there are not enough."""
        while not self.pool.make_room(sum(len(part.tokens) for _, part in parts)):
            answer = self._active[-1]
            if len(self._active) == 1:
                break
            self._suspend(answer)
            parts = [one for one in parts if one[0] is not answer]
        return parts

    def _suspend(self, answer: Answer) -> None:
        """Takes an answer's sequence away; it reads again what it had, when there is room."""
        answer.is_picked = answer.is_picked or answer.is_writing
        self._active.remove(answer)
        self._release(answer)
        self._waiting.insert(0, answer)

    def _decode(self, parts: Sequence[Part]) -> int:
        pad_to = 0
        if len(parts) == 1 and len(parts[0].tokens) <= len(self.costs.batch_for):
            rows = len(parts[0].tokens)
            pad_to = self.costs.batch_for.get(rows, rows) if rows > 1 else self.costs.step_batch
        return self.pool.slots.decode(parts, pad_to)

    def _observe(
        self, parts: Sequence[tuple[Answer, Part]], written_n: int, rows_n: int, seconds: float
    ) -> None:
        """Learns what rows cost."""
        if written_n == len(parts):
            is_plain = rows_n <= self.costs.step_batch and len(parts[0][1].tokens) == 1 == len(parts)
            self.costs.observe_verify(1 if is_plain else rows_n, seconds)
            return
        written = sum(len(part.tokens) for _, part in parts[:written_n])
        spent = self.costs.verify.cost(written) if written else 0.0
        self._speed.observe(rows_n - written, seconds - spent)

    def _advance(self, answer: Answer) -> list[Got]:
        """After a round in which some of a prompt was read."""
        slot = _slot_of(answer)
        if len(slot.tokens) == answer.kept_to:
            slot.keep()
        if answer.unread_n:
            return []
        answer.is_writing = True
        if answer.is_picked:
            return []
        picker = answer.picker
        assert picker
        picker.start(answer.history)
        first = picker.pick(0)
        answer.is_picked = True
        self._open_rounds(answer, first)
        if answer.course is None:
            answer.course = Course(
                slot.model,
                answer.stats,
                answer.wanted.max_tokens,
                slot.n_ctx - len(answer.history),
                ignore_end=answer.wanted.ignore_end,
            )
            answer.told_s = perf_counter()
            seconds = answer.stats.prefill_s = answer.stats.ttft_s = answer.told_s - answer.began_s
        else:
            answer.stats.target_passes += 1
            seconds = answer.count_time()
        return [Got(answer, (first,), (DraftSource.TARGET,), seconds)]

    def _open_rounds(self, answer: Answer, first: int) -> None:
        """Whoever drafts for an answer begins with its prompt and its first token."""
        if answer.rounds is None:
            assert answer.picker
            if self._drafts.seats:
                answer.seat = self._drafts.seats.take(answer.history)
            answer.policy = self._drafts.make_policy()
            constraint = answer.wanted.picking.constraint
            drafters = self._drafts.make(answer.seat, constraint)
            answer.rounds = Rounds(answer.picker, drafters, answer.policy, perf_counter, constraint)
            answer.rounds.stats = answer.stats
        answer.rounds.begin([*answer.history, first])

    def _book(self, written_n: int, seconds: float) -> None:
        figures = self.figures
        figures.target_passes += 1
        if written_n:
            figures.decode_s += seconds
        else:
            figures.prefill_s += seconds


def _verify(answer: Answer) -> list[int] | EdgespecError:
    """What the target says of an answer's rows; or why nothing can be picked, as where the model has no token for a grammar."""
    try:
        return _rounds_of(answer).verify()
    except EdgespecError as error:
        return error


def _slot_of(answer: Answer) -> Slot:
    assert answer.slot
    return answer.slot


def _rounds_of(answer: Answer) -> Rounds:
    assert answer.rounds
    return answer.rounds
