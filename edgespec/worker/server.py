"""The worker process: the main thread does what is asked, a second one listens, so that work can be stopped."""

import contextlib
import queue
import signal
import sys
import threading
from typing import BinaryIO, Final

from edgespec.errors import ContextOverflowError
from edgespec.worker.entry import claim_stdout, interrupt_main_thread, send_log_to_stderr
from edgespec.worker.failure import failure_of
from edgespec.worker.frames import read_frame
from edgespec.worker.link import PipeLink
from edgespec.worker.pair import PairServer
from edgespec.worker.protocol import (
    ChangeMode,
    JobFinished,
    Pause,
    Request,
    RequestFailed,
    Resume,
    RunJob,
    Stop,
)

_STOPPED: Final = RequestFailed("stopped", interrupted=True)


class Listener(threading.Thread):
    """Takes requests from stdin; stops and pauses at once, everything else in its turn."""

    def __init__(self, stream: BinaryIO, link: PipeLink) -> None:
        super().__init__(name="listener", daemon=True)
        self._stream, self._link = stream, link
        self.requests: queue.Queue[Request | None] = queue.Queue()
        self._lock = threading.Lock()
        self._received = self._begun = self._ended = self._stopped = 0
        """Requests that came, have begun, have ended; and up to which one none shall begin any more."""

    def run(self) -> None:
        """Until the other side is gone; then the work is stopped, too."""
        try:
            with contextlib.suppress(EOFError, OSError):
                self._take_requests()
        finally:
            self._stop(with_waiting=True)
            self.requests.put(None)

    def _take_requests(self) -> None:
        while True:
            match read_frame(self._stream):
                case Stop():
                    self._stop()
                case Pause():
                    self._link.running.clear()
                case Resume():
                    self._link.running.set()
                case request:
                    with self._lock:
                        self._received += 1
                        self.requests.put(request)  # type: ignore[arg-type]

    def begin(self, request: Request) -> None:
        """From here to `end` a stop interrupts the main thread.

        Raises:
            KeyboardInterrupt: it was stopped while it waited.
        """
        with self._lock:
            self._begun += 1
            if self._begun <= self._stopped and not isinstance(request, ChangeMode):
                raise KeyboardInterrupt

    def end(self) -> None:
        """What was begun is done."""
        with self._lock:
            self._ended = self._begun

    def _stop(self, *, with_waiting: bool = False) -> None:
        """Stops what is being done; what waits only when nothing is, as while Python still starts."""
        self._link.running.set()
        with self._lock:
            is_busy = self._begun > self._ended
            if with_waiting or not is_busy:
                self._stopped = self._received
            if is_busy:
                interrupt_main_thread()


def main() -> int:
    """Serves requests until stdin ends."""
    out = claim_stdout()
    _ignore_interrupts()
    send_log_to_stderr()
    link = PipeLink(out)
    listener = Listener(sys.stdin.buffer, link)
    listener.start()
    pair = PairServer(link)
    with contextlib.suppress(BrokenPipeError), contextlib.closing(pair):
        _serve(listener, link, pair)
    return 0


def _serve(listener: Listener, link: PipeLink, pair: PairServer) -> None:
    while (request := listener.requests.get()) is not None:
        link.has_answered = False
        try:
            failed = _attempt(request, listener, link, pair)
            _ignore_interrupts()
        except KeyboardInterrupt:  # in the middle of another failure
            _ignore_interrupts()
            failed = _STOPPED
        listener.end()
        if failed is not None and not (failed.interrupted and link.has_answered):
            link.send(failed)


def _attempt(request: Request, listener: Listener, link: PipeLink, pair: PairServer) -> RequestFailed | None:
    """Does what is asked; a stop gets through from here on."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        listener.begin(request)
        _do(request, link, pair)
    except KeyboardInterrupt:
        return _STOPPED
    except Exception as error:
        failure = failure_of(error)
        context_full = isinstance(error, ContextOverflowError)
        return RequestFailed(failure.message, failure.hint, context_full=context_full)
    return None


def _ignore_interrupts() -> None:
    """Those that are on their way came too late for the work that they meant."""
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            return


def _do(request: Request, link: PipeLink, pair: PairServer) -> None:
    if isinstance(request, RunJob):
        link.send(JobFinished(request.job.run(link)))
    else:
        pair.serve(request)


if __name__ == "__main__":
    sys.exit(main())
