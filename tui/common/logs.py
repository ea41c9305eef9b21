"""What llama.cpp and the engine process said."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Log, Static

from edgespec.files import written_whole
from edgespec.text import plain_text
from tui.common.dialog import Dialog
from tui.services.engine_client import EngineClient

_FILE = "edgespec-engine.log"
_REFRESH_S = 0.5


class LogLevel(StrEnum):
    """The least serious lines that are shown."""

    ALL = "all lines"
    INFO = "info and worse"
    WARNING = "warnings and worse"
    ERROR = "errors alone"


_RANKS: Final = {
    "DEBUG": LogLevel.ALL,
    "INFO": LogLevel.INFO,
    "WARNING": LogLevel.WARNING,
    "ERROR": LogLevel.ERROR,
    "CRITICAL": LogLevel.ERROR,
}
"""The first word of a line that the engine process logs (`edgespec.worker.entry.send_log_to_stderr`)."""


def at_least(lines: Iterable[str], least: LogLevel) -> list[str]:
    """The lines of this level and above. One that names no level goes on with what the line before it said."""
    levels = list(LogLevel)
    rank, found = levels.index(LogLevel.INFO), []
    for line in lines:
        named = _RANKS.get(line.split(" ", 1)[0])
        rank = rank if named is None else levels.index(named)
        if rank >= levels.index(least):
            found.append(line)
    return found


class LogScreen(Dialog[None]):
    """The newest lines at the bottom, followed while it is open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f8,q", "dismiss", "Close", id="log.close", tooltip="Back to the screen"),
        Binding(
            "l", "next_level", "Level", id="log.level", tooltip="All lines, info, warnings, or errors alone"
        ),
        Binding("s", "save", "Save", id="log.save", tooltip=f"Write the log to {_FILE}"),
    ]

    def __init__(self, engine: EngineClient) -> None:
        super().__init__()
        self._engine = engine
        self._least = LogLevel.ALL
        self._seen: list[str] = []
        """All lines, as they were when the newest of them were shown."""

    def compose(self) -> ComposeResult:
        """Title and lines."""
        with Vertical(classes="dialog dialog-wide dialog-tall"):
            yield Static(self._title(), id="log-title", classes="dialog-title", markup=False)
            yield Log(max_lines=2000)

    def on_mount(self) -> None:
        """Shows what there is, then what comes."""
        self._follow()
        self.query_one(Log).focus()
        self.set_interval(_REFRESH_S, self._follow)

    def action_next_level(self) -> None:
        """Leaves out what is less serious, or shows everything again."""
        levels = list(LogLevel)
        self._least = levels[(levels.index(self._least) + 1) % len(levels)]
        self.query_one("#log-title", Static).update(self._title())
        self._seen = []
        self.query_one(Log).clear()
        self._follow()

    def _title(self) -> str:
        return f"Engine log: {self._least}    l changes the level, s saves all, Esc closes"

    @property
    def _lines(self) -> list[str]:
        return list(self._engine.log)

    def _follow(self) -> None:
        lines, log = self._lines, self.query_one(Log)
        if lines == self._seen and log.line_count:
            return
        is_grown = lines[: len(self._seen)] == self._seen
        before, shown = at_least(self._seen if is_grown else [], self._least), at_least(lines, self._least)
        if not before:  # what stands there are other lines, or the note that there are none
            log.clear()
        log.write_lines([plain_text(line) for line in shown[len(before) :]])
        self._seen = lines
        if not shown:
            log.write_line(
                f"nothing of this level among {len(lines)} lines"
                if lines
                else "nothing yet: the engine writes here when it loads a model"
            )

    def action_save(self) -> None:
        """Writes it where the app was started."""
        path = Path(_FILE).resolve()
        try:
            with written_whole(path) as unfinished:
                unfinished.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
            self.notify(f"written: {path}", markup=False)
        except OSError as error:
            self.notify(f"{path} cannot be written: {error.strerror}", severity="error", markup=False)
