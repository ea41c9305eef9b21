"""The worker process: the main thread does what is asked, a second one listens, so that work can be stopped.

Events leave through a copy of stdout. File descriptor 1 itself points at stderr, where native code may print.
"""

import contextlib
import io
import logging
import os
import queue
import signal
import sys
import threading
from time import monotonic
from typing import BinaryIO

from edgespec.errors import EdgespecError
from edgespec.llama.interrupts import HeldInterrupts
from tui.engine.frames import pack, read_frame
from tui.engine.pair import PairServer
from tui.engine.protocol import (
    AnyEvent,
    JobFinished,
    Pause,
    Progressed,
    Request,
    RequestFailed,
    Resume,
    RunJob,
    Stop,
    Unit,
)

_REPORT_S = 0.1


class PipeLink:
    """`Link` over the process's pipe."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.running = threading.Event()
        self.running.set()
        self._reported_s = 0.0
        self._label = ""

    def send(self, event: AnyEvent) -> None:
        """Writes a frame."""
        # Half a frame would be the end of the conversation between the two.
        with HeldInterrupts(), self._lock:
            self._stream.write(pack(event))
            self._stream.flush()

    def report(self, label: str, done: float, total: float, unit: Unit = "steps") -> None:
        """Sends `Progressed` when the last one is a tenth of a second old, or says something else."""
        while not self.running.wait(0.2):
            pass  # short waits, so that an interruption gets through on every system
        now = monotonic()
        if label != self._label or done >= total or now - self._reported_s >= _REPORT_S:
            self._reported_s, self._label = now, label
            self.send(Progressed(label, done, total, unit))


class Listener(threading.Thread):
    """Takes requests from stdin; stops and pauses at once, everything else in its turn."""

    def __init__(self, stream: BinaryIO, link: PipeLink) -> None:
        super().__init__(name="listener", daemon=True)
        self._stream, self._link = stream, link
        self.requests: queue.Queue[Request | None] = queue.Queue()
        self.busy = threading.Lock()
        """Held while a request is being done: only then is there something to stop."""

    def run(self) -> None:
        """Until the app is gone; then the work is stopped, too."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                match read_frame(self._stream):
                    case Stop():
                        self._stop()
                    case Pause():
                        self._link.running.clear()
                    case Resume():
                        self._link.running.set()
                    case request:
                        self.requests.put(request)  # type: ignore[arg-type]
        self.requests.put(None)
        self._stop()

    def _stop(self) -> None:
        self._link.running.set()
        if self.busy.locked():
            interrupt_main_thread()


def interrupt_main_thread() -> None:
    """Ctrl-C for the main thread; on POSIX it also ends a system call that waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:  # pragma: no cover
        import _thread

        _thread.interrupt_main()


def main() -> int:
    """Serves requests until stdin ends."""
    sys.path[:] = [path for path in sys.path if path]
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), line_buffering=True)
    # A terminal's Ctrl-C reaches the whole group on some systems; only the app's `Stop` counts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _send_log_to_stderr()
    link = PipeLink(out)
    listener = Listener(sys.stdin.buffer, link)
    listener.start()
    pair = PairServer(link)
    with contextlib.suppress(BrokenPipeError), contextlib.closing(pair):
        _serve(listener, link, pair)
    return 0


def _serve(listener: Listener, link: PipeLink, pair: PairServer) -> None:
    while True:
        try:
            request = listener.requests.get()
        except KeyboardInterrupt:
            continue  # it came too late for the work that it meant
        if request is None:
            return
        try:
            with listener.busy:
                _do(request, link, pair)
        except KeyboardInterrupt:
            link.send(RequestFailed("stopped", interrupted=True))
        except EdgespecError as error:
            link.send(RequestFailed(error.message, error.hint))
        except MemoryError:
            link.send(
                RequestFailed("the machine ran out of memory", "take a smaller model or a shorter context")
            )
        except Exception as error:
            logging.getLogger(__name__).exception("unexpected")
            link.send(RequestFailed(f"{type(error).__name__}: {error}", "the log (F8) has the details"))


def _do(request: Request, link: PipeLink, pair: PairServer) -> None:
    if isinstance(request, RunJob):
        link.send(JobFinished(request.job.run(link)))
    else:
        pair.serve(request)


def _send_log_to_stderr() -> None:
    """llama.cpp's own lines are records of `edgespec.llama.native`."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("edgespec").setLevel(logging.DEBUG)


if __name__ == "__main__":
    sys.exit(main())
