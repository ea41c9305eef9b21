"""Ctrl-C while llama.cpp works: kept until the call is over, because an exception cannot pass through C.

Python runs signal handlers inside callbacks from C too, such as the log's; what they raise there is printed and lost.
"""

import signal
import threading
from types import TracebackType
from typing import Any, Self


class HeldInterrupts:
    """While it is entered, Ctrl-C only sets `pending`; on leaving it becomes KeyboardInterrupt, whatever else was raised.

    `watching` is False where Ctrl-C is not Python's own to handle: outside the main thread, and in a program that
    has a handler of its own or ignores the signal.
    """

    def __init__(self) -> None:
        self.pending = False
        self.watching = False

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()
        self.watching = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.watching:
            signal.signal(signal.SIGINT, self._remember)
        return self

    def _remember(self, _number: int, _frame: Any) -> None:
        self.pending = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.watching:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.pending:
            raise KeyboardInterrupt
