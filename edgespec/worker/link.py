"""The worker's end of the pipe, as the work in the process sees it: events, and the progress that becomes events."""

import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import BinaryIO, Final

from edgespec.llama.interrupts import HeldInterrupts
from edgespec.progress import Unit
from edgespec.worker.frames import pack
from edgespec.worker.protocol import Answered, AnyEvent, JobFinished, PairOpened, Progressed, RaceAdvanced

_INTERVAL_S: Final = 0.1
_WAIT_S: Final = 0.2
"""Short waits, so that an interruption gets through on every system."""


class PipeLink:
    """`Link` over the process's pipe."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.running = threading.Event()
        """Cleared while the work is paused."""
        self.running.set()
        self.has_answered = False
        """Whether what was asked last has had its answer; a stop changes nothing then."""
        self.progress = SentProgress(self.send, self._wait_while_paused)

    def send(self, event: AnyEvent) -> None:
        """Writes a frame."""
        # Half a frame would be the end of the conversation between the two.
        with HeldInterrupts(), self._lock:
            self._stream.write(pack(event))
            self._stream.flush()
            self.has_answered = self.has_answered or _is_answer(event)

    def _wait_while_paused(self) -> None:
        while not self.running.wait(_WAIT_S):
            pass


def _is_answer(event: AnyEvent) -> bool:
    match event:
        case PairOpened() | Answered() | JobFinished() | RaceAdvanced(is_last=True):
            return True
        case _:
            return False


class SentProgress:
    """`Progress` for another process: `Progressed` with every label and every end, and between them every 0.1 s.

    How far a stage came is never lost: what was not sent when the next one begins is sent then.

    Args:
        send: Takes the events.
        wait: Called before every step; returns when the work may go on.
    """

    def __init__(self, send: Callable[[Progressed], None], wait: Callable[[], None]) -> None:
        self._send, self._wait = send, wait
        self._now = self._sent = Progressed("", 0, None)
        self._sent_s = 0.0

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        """Tells the label at once."""
        self._wait()
        if self._sent != self._now:
            self._tell()
        self._now = Progressed(label, done, total, unit)
        if label != self._sent.label or self._is_due():
            self._tell()

    def advance(self, amount: float = 1) -> None:
        """Tells it ten times a second at most, and at the stage's end."""
        self._wait()
        self._now = replace(self._now, done=self._now.done + amount)
        if self._is_due():
            self._tell()

    def _is_due(self) -> bool:
        done, total = self._now.done, self._now.total
        is_whole = total is not None and done >= total
        return is_whole or monotonic() - self._sent_s >= _INTERVAL_S

    def _tell(self) -> None:
        self._sent, self._sent_s = self._now, monotonic()
        self._send(self._now)
