"""Tells the server that the process runs, and how far it is: one that says nothing any more has been stopped, or hangs."""

import threading
from contextlib import suppress
from typing import Final

from edgespec.worker.outbox import Outbox
from edgespec.worker.serving_protocol import Alive

PULSE_S: Final = 1.0


class Pulse(threading.Thread):
    """Says `Alive` every second while there is something to do. A thread of its own: a round of a large prompt may take minutes.

    Args:
        outbox: Where it goes.
        every_s: How often.
    """

    def __init__(self, outbox: Outbox, every_s: float = PULSE_S) -> None:
        super().__init__(name="pulse", daemon=True)
        self._outbox, self._every_s = outbox, every_s
        self.rounds_n = 0
        """That the main thread has computed."""
        self._works, self._ended = threading.Event(), threading.Event()

    def run(self) -> None:
        """Until it is ended, or the server is gone."""
        with suppress(OSError):
            while not self._ended.is_set():
                self._works.wait()
                if not self._ended.wait(self._every_s) and self._works.is_set():
                    self._outbox.send(Alive(self.rounds_n))

    def work(self) -> None:
        """From here on there is something to do."""
        self._works.set()

    def rest(self) -> None:
        """From here on there is nothing to do, and nothing to tell."""
        self._works.clear()

    def end(self) -> None:
        """Says nothing more: no frame is on its way when the process ends."""
        self._ended.set()
        self._works.set()
        self.join()
