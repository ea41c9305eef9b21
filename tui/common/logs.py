"""What llama.cpp and the engine process said."""

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Log, Static

from edgespec.files import written_whole
from edgespec.text import plain_text
from tui.services.engine_client import EngineClient

_FILE = "edgespec-engine.log"
_REFRESH_S = 0.5


class LogScreen(ModalScreen[None]):
    """The newest lines at the bottom, followed while it is open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f8,q", "dismiss", "Close", id="log.close", tooltip="Back to the screen"),
        Binding("s", "save", "Save", id="log.save", tooltip=f"Write the log to {_FILE}"),
    ]

    def __init__(self, engine: EngineClient) -> None:
        super().__init__()
        self._engine = engine
        self._shown = 0

    def compose(self) -> ComposeResult:
        """Title and lines."""
        with Vertical(classes="dialog dialog-wide dialog-tall"):
            yield Static("Engine log    s saves it, Esc closes", classes="dialog-title", markup=False)
            yield Log(max_lines=2000)

    def on_mount(self) -> None:
        """Shows what there is, then what comes."""
        self._follow()
        self.query_one(Log).focus()
        self.set_interval(_REFRESH_S, self._follow)

    @property
    def _lines(self) -> list[str]:
        return list(self._engine.log)

    def _follow(self) -> None:
        lines = self._lines
        if not lines and not self._shown:
            self.query_one(Log).write_line("nothing yet: the engine writes here when it loads a model")
            self._shown = -1
            return
        if self._shown < 0 and lines:
            self.query_one(Log).clear()
            self._shown = 0
        new = lines[max(self._shown, 0) :]
        if new:
            self.query_one(Log).write_lines([plain_text(line) for line in new])
            self._shown = len(lines)

    def action_save(self) -> None:
        """Writes it where the app was started."""
        path = Path(_FILE).resolve()
        try:
            with written_whole(path) as unfinished:
                unfinished.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
            self.notify(f"written: {path}", markup=False)
        except OSError as error:
            self.notify(f"{path} cannot be written: {error.strerror}", severity="error", markup=False)
