"""The process in which llama.cpp quantizes for `quantizer.quantize_file`.

    stdin: the length of a request, the request, then a byte for every tensor after which it may go on
    stdout: lines of JSON, one for every tensor, every line of llama.cpp's log, and the end

Any other line is what llama.cpp printed before it ended the process. When stdin ends the parent is gone, and so is this.
"""

import json
import logging
import os
import pickle
import signal
import sys
import threading

from edgespec.errors import EngineError
from edgespec.llama.library import native_lines, native_log
from edgespec.llama.quantizer import REQUEST_LENGTH, TENSOR_LINE, check_header, run_quantizer


class _Sender(logging.Handler):
    """Sends llama.cpp's log."""

    def emit(self, record: logging.LogRecord) -> None:
        _send("log", [record.levelno, record.getMessage()])


def _send(kind: str, value: object = None) -> None:
    sys.stdout.write(json.dumps({kind: value}) + "\n")
    sys.stdout.flush()


def _listen(may_go_on: threading.Semaphore) -> None:
    while acknowledged := os.read(0, 1 << 12):
        may_go_on.release(len(acknowledged))
    os._exit(1)


def main() -> None:
    """Does one request."""
    # Ctrl-C in a terminal reaches this process as well; its parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stdin = sys.stdin.buffer
    (length,) = REQUEST_LENGTH.unpack(stdin.read(REQUEST_LENGTH.size))
    source, destination, settings, n_threads = pickle.loads(stdin.read(length))
    may_go_on = threading.Semaphore(0)
    threading.Thread(target=_listen, args=(may_go_on,), daemon=True).start()
    native_log.addHandler(_Sender())
    native_log.setLevel(logging.DEBUG)

    def wait_for_parent(line: str) -> None:
        if TENSOR_LINE.match(line):
            _send("tensor")
            may_go_on.acquire()

    try:
        with native_lines(wait_for_parent):
            problem = run_quantizer(source, destination, settings, n_threads, dry_run=False)
        # The header is written last, and llama.cpp does not hear of it when the disk refuses that.
        problem = problem or check_header(destination)
    except EngineError as error:  # no llama.cpp
        problem = error.message
    _send("end", problem)
    os._exit(0)


if __name__ == "__main__":
    main()
