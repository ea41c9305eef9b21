"""What is told to callers on its way to the server: in batches, because every frame wakes a process that shares the cores."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import BinaryIO, Final

from edgespec.session.shared.asked import Ask, Began, Cancel, Ended, Refused, Told, Wrote
from edgespec.worker.frames import pack
from edgespec.worker.protocol import BATCH_S

BATCH_OF_SEVERAL_S: Final = 0.02
"""`BATCH_S` where several answers share a frame, and a waking costs each of them less."""


class Outbox:
    """Collects what is told. The first text of an answer and its end leave at once, and whatever is no text.

    Args:
        stream: Where the frames go.
        clock: Seconds.
    """

    def __init__(self, stream: BinaryIO, clock: Callable[[], float] = monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._waiting: list[Told] = []
        self._begun: set[tuple[int, int]] = set()
        """Answers, by id and choice, that some text has left of."""
        self._held: dict[int, list[Told]] = {}
        """What is told of asks whose callers want the whole only."""
        self._sent_s = float("-inf")
        self._writing = threading.Lock()

    def asked(self, ask: Ask) -> None:
        """An answer is to come."""
        if not ask.in_pieces:
            self._held[ask.id] = []

    def add(self, told: Sequence[Told]) -> None:
        """Takes what a round brought, and sends what may not wait."""
        is_urgent = False
        for one in told:
            held = self._held.get(one.id)
            if held is not None and isinstance(one, Began | Wrote):
                held.append(one)
                continue
            if held:
                self._waiting += joined(held)
                held.clear()
            self._waiting.append(one)
            is_urgent |= self._cannot_wait(one)
        batch_s = BATCH_S if len(self._begun) < 2 else BATCH_OF_SEVERAL_S
        if is_urgent or (self._waiting and self._clock() - self._sent_s >= batch_s):
            self.flush()

    def _cannot_wait(self, one: Told) -> bool:
        match one:
            case Began():
                return False
            case Wrote(id=number, choice=choice):
                is_first = (number, choice) not in self._begun and bool(one.text or one.thought or one.calls)
                if is_first:
                    self._begun.add((number, choice))
                return is_first
            case Ended(id=number, choice=choice):
                self._begun.discard((number, choice))
                return True
            case Refused(id=number):
                self._forget(number)
                self._held.pop(number, None)
                return True
            case _:
                return True

    def cancelled(self, cancel: Cancel) -> None:
        """Nobody waits for that answer any more."""
        self._forget(cancel.id)
        self._held.pop(cancel.id, None)
        self._waiting = [one for one in self._waiting if one.id != cancel.id]

    def _forget(self, number: int) -> None:
        self._begun = {one for one in self._begun if one[0] != number}

    def ended(self, number: int) -> None:
        """Nothing more comes of that ask."""
        self._held.pop(number, None)

    def flush(self) -> None:
        """Sends what is left."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.send(joined(waiting))
            self._sent_s = self._clock()

    def send(self, value: object) -> None:
        """Sends a frame at once; from any thread."""
        frame = pack(value)
        with self._writing:
            self._stream.write(frame)
            self._stream.flush()


def joined(told: Sequence[Told]) -> tuple[Told, ...]:
    """The same with the pieces of each answer in one, as far as thoughts, text and calls stay in their order."""
    places: dict[tuple[int, int], int] = {}
    found: list[Told] = []
    for one in told:
        if isinstance(one, Wrote):
            place = places.get((one.id, one.choice))
            before = found[place] if place is not None else None
            if place is not None and isinstance(before, Wrote) and _may_follow(before, one):
                found[place] = _together(before, one)
                continue
            places[one.id, one.choice] = len(found)
        found.append(one)
    return tuple(found)


def _may_follow(before: Wrote, one: Wrote) -> bool:
    """Whether both can be told as one, which is read as thought, then text, then calls."""
    if before.calls:
        return not (one.text or one.thought)
    return not (before.text and one.thought)


def _together(before: Wrote, one: Wrote) -> Wrote:
    return replace(
        before,
        text=before.text + one.text,
        thought=before.thought + one.thought,
        calls=before.calls + one.calls,
        tokens=before.tokens + one.tokens,
        logprobs=before.logprobs + one.logprobs,
    )
