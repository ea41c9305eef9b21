"""How the app draws when a browser shows it: as textual-serve wants it, and it ends when the server is gone."""

import os
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from textual import messages
from textual.drivers.web_driver import WebDriver

_LINKS = ("http", "https", "mailto")


class BrowserDriver(WebDriver):
    """Textual's own driver leaves an app running when the server was killed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._write = partial(_write_while_read, self.fileno)

    def run_input_thread(self) -> None:
        """Reads until the app or the server ends."""
        super().run_input_thread()
        if not self.exit_event.is_set():
            self._app.post_message(messages.ExitApp())

    def open_url(self, url: str, new_tab: bool = True) -> None:
        """Opens a page in the browser; a link that a model wrote may lead to nothing else."""
        if urlsplit(url).scheme in _LINKS:
            super().open_url(url, new_tab)


def _write_while_read(file: int, data: bytes) -> int:
    """Writes all of it; what nobody reads any more is dropped."""
    written = 0
    try:
        while written < len(data):
            written += os.write(file, data[written:])
    except BrokenPipeError:
        return len(data)
    return written
