"""The table of models: which are here, which fit, which are loaded, and how far a download is."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.text import Text
from textual import on, work
from textual.message import Message
from textual.widgets import DataTable

from edgespec.errors import EdgespecError
from edgespec.text import human_bytes, one_line
from tui.common.status_line import Told
from tui.common.table import fit_columns
from tui.models.rows import Fit, ModelList, ModelRow, load_models
from tui.models.speeds import ModelSpeeds
from tui.services.app_services import AppServices
from tui.services.messages import EngineChanged, WorkerReported

_COLUMNS: Final = {
    "mark": "",
    "name": "MODEL",
    "size": "SIZE",
    "speed": "TOK/S",
    "here": "ON DISK",
    "fit": "MEMORY",
    "licence": "LICENCE",
}
_FIT_STYLES: Final = {Fit.FITS: "green", Fit.TIGHT: "yellow", Fit.TOO_LARGE: "red", Fit.UNKNOWN: "dim"}
_NAME_CHARACTERS: Final = 34


class ModelTable(DataTable[Text]):
    """A row for each model that the filter lets through. It looks through the folders, and follows the engine."""

    @dataclass
    class Highlighted(Message):
        """Another model is under the cursor, or more is known of the one that is."""

        row: ModelRow | None

    def __init__(self, services: AppServices) -> None:
        super().__init__(id="models-table", cursor_type="row", zebra_stripes=False)
        self._services = services
        self._engine = services.engine
        self._speeds = ModelSpeeds(services, self)
        self._words: list[str] = []
        self._downloading: Mapping[str, str] = {}
        self.models: ModelList | None = None
        """What was found; None before the first look."""

    def on_mount(self) -> None:
        """Columns, and the engine's changes for the mark of what is loaded."""
        for key, label in _COLUMNS.items():
            self.add_column(label, key=key)
        self._engine.subscribe(self)

    def on_unmount(self) -> None:
        """The engine may go on without this screen."""
        self._engine.unsubscribe(self)

    @property
    def row(self) -> ModelRow | None:
        """The highlighted model."""
        if self.models is None or not self.is_valid_row_index(self.cursor_row):
            return None
        return self.models.find(self.ordered_rows[self.cursor_row].key.value or "")

    @work(exclusive=True, group="models")
    async def reload(self) -> None:
        """Looks through the folders again, in a thread."""
        try:
            models = await asyncio.to_thread(load_models, self._services.engine_settings(), Path())
        except EdgespecError as error:
            self.post_message(Told(f"{error.message} {error.hint}", error=True))
            return
        except OSError as error:
            self.post_message(Told(f"the models cannot be listed: {error}", error=True))
            return
        if self.models is None:
            self.post_message(Told(_summary(models)))
        self.models = self._speeds.add_to(models)
        self._fill()
        self._speeds.predict(self.models)

    def filter(self, text: str) -> None:
        """Shows the models in which all these words occur."""
        self._words = text.lower().split()
        self._fill()

    def show_downloads(self, downloading: Mapping[str, str]) -> None:
        """How far the downloads are, by spec."""
        self._downloading = downloading
        self._refresh_cells("here")

    def _fill(self) -> None:
        """Rows that the filter lets through; the cursor stays on its model."""
        if self.models is None:
            return
        before = self.row
        shown = [row for row in self.models.rows if row.matches(self._words)]
        cells = [[self._cell(row, key) for key in _COLUMNS] for row in shown]
        with self.prevent(DataTable.RowHighlighted):
            self.clear()
            fit_columns(self, cells)
            for row, texts in zip(shown, cells, strict=True):
                self.add_row(*texts, key=row.spec)
            specs = [row.spec for row in shown]
            wanted = before.spec if before else ""
            self.move_cursor(row=specs.index(wanted) if wanted in specs else 0)
        self._tell_highlighted()

    def _refresh_cells(self, key: str) -> None:
        """Paints a column again, of rows that are there already."""
        if self.models is None:
            return
        for place in list(self.ordered_rows):
            row = self.models.find(place.key.value or "")
            if row is not None:
                self.update_cell(place.key, key, self._cell(row, key), update_width=True)

    def _cell(self, row: ModelRow, key: str) -> Text:
        here = "" if row.is_here else "dim"
        match key:
            case "mark":
                return Text(row.role_in(self._engine.pair) or "", style="bold green")
            case "name":
                name = one_line(row.name)
                is_long = len(name) > _NAME_CHARACTERS
                return Text(f"…{name[-_NAME_CHARACTERS + 1 :]}" if is_long else name, style=here)
            case "size":
                return Text(human_bytes(row.size_bytes) if row.size_bytes else "?", justify="right")
            case "speed":
                return Text(row.speed_text, justify="right", style=here)
            case "here":
                return Text(self._downloading.get(row.spec, row.here_text), style=here)
            case "fit":
                return Text(row.fit, style=_FIT_STYLES[row.fit])
            case _:
                return Text(one_line(row.licence), style="dim")

    @on(EngineChanged)
    def _engine_changed(self) -> None:
        self._speeds.make_room()
        self._refresh_cells("mark")
        self._tell_highlighted()

    @on(WorkerReported)
    def _speeds_reported(self, message: WorkerReported) -> None:
        if self.models is not None and self._speeds.take(message):
            self.models = self._speeds.add_to(self.models)
            self._refresh_cells("speed")
            self._tell_highlighted()

    @on(DataTable.RowHighlighted)
    def _tell_highlighted(self) -> None:
        self.post_message(self.Highlighted(self.row))


def _summary(models: ModelList) -> str:
    here = sum(row.is_here for row in models.rows)
    way = "Enter chats with one" if here else "p fetches the highlighted one"
    return f"{here} of {len(models.rows)} on disk · {human_bytes(models.free_bytes)} of memory free · {way}"
