"""How the app draws in a terminal, which may go meanwhile: its window is closed, a connection breaks off."""

import select
import sys
import threading
from typing import Any, TextIO, cast

from textual import messages
from textual.drivers.linux_driver import LinuxDriver


class TerminalDriver(LinuxDriver):
    """Ends the app with its terminal.

    Textual's own driver draws in a thread that ends with its first error, and whoever draws later waits for it for good;
    and it takes the end of what is typed for a pause, which it looks at again and again.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # It draws on nothing else, and asks of it no more than this.
        self._file = cast(Any, WhileItLasts(sys.__stderr__ or sys.stderr))
        self._guard: threading.Thread | None = None

    def start_application_mode(self) -> None:
        """Takes the terminal, and looks after it from the first time on."""
        if self._guard is None:
            self._guard = threading.Thread(target=self._wait_for_end, name="terminal's end", daemon=True)
            self._guard.start()
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def _wait_for_end(self) -> None:
        """Nobody needs to be told of an end by a signal: not who was started by `nohup`, or in another session."""
        guard = select.poll()
        guard.register(self.fileno, 0)  # a hang-up is always told
        if any(event & select.POLLHUP for _, event in guard.poll()):
            self._app.post_message(messages.ExitApp())


class WhileItLasts:
    """A stream that drops what is written to it from its first error on.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_gone = False

    def write(self, text: str) -> int:
        """Writes a text, or drops it."""
        if not self._is_gone:
            try:
                self._stream.write(text)
            except OSError:
                self._is_gone = True
        return len(text)

    def flush(self) -> None:
        """Flushes the stream, or does nothing."""
        if not self._is_gone:
            try:
                self._stream.flush()
            except OSError:
                self._is_gone = True

    def fileno(self) -> int:
        """The stream's."""
        return self._stream.fileno()
