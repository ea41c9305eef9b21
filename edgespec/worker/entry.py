"""What every process of this floor does first: frames leave through a copy of stdout, and everything else goes to stderr."""

import io
import logging
import os
import signal
import sys
import threading
from typing import BinaryIO


def claim_stdout() -> BinaryIO:
    """The stream for frames. File descriptor 1 itself points at stderr from now on, where native code may print."""
    sys.path[:] = [path for path in sys.path if path]
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), line_buffering=True)
    return out


def send_log_to_stderr() -> None:
    """llama.cpp's own lines are records of `edgespec.llama.native`."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("edgespec").setLevel(logging.DEBUG)


def interrupt_main_thread() -> None:
    """Ctrl-C for the main thread; on POSIX it also ends a system call that waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:  # pragma: no cover
        import _thread

        _thread.interrupt_main()
