"""Many callers of one pair: what they ask is taken from a pipe, and every round of all answers is told to them."""

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Sequence
from typing import BinaryIO, Final, Protocol

from edgespec.errors import EdgespecError, ExitCode
from edgespec.session.shared.asked import Ask, Asked, Cancel, Ended, RefusalKind, Refused, Told
from edgespec.worker.entry import interrupt_main_thread
from edgespec.worker.failure import failure_of
from edgespec.worker.frames import read_frame
from edgespec.worker.outbox import Outbox
from edgespec.worker.pulse import Pulse

log = logging.getLogger(__name__)

_LONGEST_END_S: Final = 10.0
"""A round of the largest models takes less; whoever takes longer is stuck."""


class Inbox(threading.Thread):
    """Takes what is asked from the server's pipe."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(name="inbox", daemon=True)
        self._stream = stream
        self._asked: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.is_opening = threading.Event()
        """Whether the main thread loads, which the end of the pipe interrupts."""
        self.has_ended = threading.Event()

    def run(self) -> None:
        """Until the server is gone."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._asked.put(read_frame(self._stream))
        self.has_ended.set()
        self._asked.put(None)
        if self.is_opening.is_set():
            interrupt_main_thread()
        # The main thread ends by itself, unless a round of it hangs.
        time.sleep(_LONGEST_END_S)
        os._exit(ExitCode.FAILED)

    def take_first(self) -> object:
        """What comes first; None at the end."""
        return self._asked.get()

    def take(self, *, waits: bool) -> list[object]:
        """What came since the last time; where it waits, something. A None in it is the end."""
        taken: list[object] = [self._asked.get()] if waits else []
        with contextlib.suppress(queue.Empty):
            while True:
                taken.append(self._asked.get_nowait())
        return taken


class Answering(Protocol):
    """A pair that answers many callers: `SharedSession`, or a script in tests."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to compute."""

    def submit(self, asked: Asked) -> None:
        """Takes what is asked."""

    def step(self) -> Sequence[Told]:
        """Computes a round."""

    def rest(self) -> None:
        """Does what would keep the next question waiting; for when there is nothing to compute."""


class Rounds:
    """Hands what is asked to the pair and what it tells to the server, round by round."""

    def __init__(self, pair: Answering, inbox: Inbox, outbox: Outbox, pulse: Pulse) -> None:
        self._pair, self._inbox, self._outbox, self._pulse = pair, inbox, outbox, pulse
        self._choices_left: dict[int, int] = {}
        """Of the answers under way, by their ids."""

    def run(self) -> ExitCode:
        """Until the server is gone, or the pair fails in a way that leaves nothing to trust."""
        while True:
            try:
                taken = self._take()
            except Exception as error:
                return self._give_up(error)
            for one in taken:
                if one is None:
                    return ExitCode.OK
                self._submit(one)  # type: ignore[arg-type]
            try:
                told = self._pair.step()
            except Exception as error:
                return self._give_up(error)
            self._pulse.rounds_n += 1
            self._outbox.add(told)
            self._count(told)

    def _take(self) -> list[object]:
        """What came since the last round; where there is nothing to compute, what comes next."""
        if not self._pair.is_idle:
            return self._inbox.take(waits=False)
        self._outbox.flush()
        self._pair.rest()
        self._pulse.rest()
        taken = self._inbox.take(waits=True)
        self._pulse.work()
        return taken

    def _submit(self, asked: Asked) -> None:
        if isinstance(asked, Ask):
            self._choices_left[asked.id] = asked.n_choices
            self._outbox.asked(asked)
        elif isinstance(asked, Cancel):
            self._choices_left.pop(asked.id, None)
            self._outbox.cancelled(asked)
        try:
            self._pair.submit(asked)
        except Exception as error:
            refused = refused_for(asked.id, error, "request")
            self._outbox.add([refused])
            self._count([refused])

    def _count(self, told: Sequence[Told]) -> None:
        for one in told:
            if isinstance(one, Refused):
                self._choices_left.pop(one.id, None)
            elif isinstance(one, Ended):
                left = self._choices_left.pop(one.id, 1) - 1
                if left:
                    self._choices_left[one.id] = left
                else:
                    self._outbox.ended(one.id)

    def _give_up(self, error: Exception) -> ExitCode:
        log.error("a round failed", exc_info=error)
        self._outbox.add([refused_for(number, error, "engine") for number in self._choices_left])
        self._outbox.flush()
        return ExitCode.FAILED


def refused_for(number: int, error: Exception, kind: RefusalKind) -> Refused:
    """What an error is for whoever asked.

    Args:
        number: The id of what was asked.
        error: What was raised.
        kind: Unless the error tells it.
    """
    failure = failure_of(
        error, memory_hint="ask for less at a time", log_hint="the server's log has the details"
    )
    told: RefusalKind = "memory" if isinstance(error, MemoryError) else "engine"
    return Refused(number, kind if isinstance(error, EdgespecError) else told, failure.message, failure.hint)
