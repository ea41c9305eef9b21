"""The table of models with its filter and the details of the highlighted one."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.events import ScreenResume
from textual.widgets import DataTable, Input, Static

from edgespec.catalog.candidates import Candidate, Verdict
from edgespec.errors import EdgespecError
from edgespec.text import human_bytes, one_line
from edgespec.worker.protocol import PairOpened, RequestFailed, WorkerDied
from tui.common.mode_screen import ModeScreen
from tui.common.status_line import StatusLine
from tui.common.table import fit_columns
from tui.models.details import Details, describe_row, known_facts
from tui.models.rows import Fit, ModelRow, Shelf, load_shelf
from tui.services.app_services import AppServices
from tui.services.messages import ModelsChanged

_COLUMNS: Final = (
    ("mark", ""),
    ("name", "MODEL"),
    ("size", "SIZE"),
    ("here", "ON DISK"),
    ("fit", "MEMORY"),
    ("licence", "LICENCE"),
)
_FIT_STYLES: Final = {Fit.FITS: "green", Fit.TIGHT: "yellow", Fit.TOO_LARGE: "red", Fit.UNKNOWN: "dim"}
_VERDICT_STYLES: Final[dict[Verdict, str]] = {"ok": "green", "mapped": "green", "refused": "red"}
_NAME_CHARACTERS: Final = 34
_SHOWN_DRAFTS: Final = 12
_REST: Final = {
    True: "more that are not here or cannot serve",
    False: "of the catalogue are smaller, but not here and so not checked",
}
_SETTLE_S: Final = 0.1
"""A cursor that runs over the table reads no files."""
_FILTER: Final = "filter, or owner/repo:file.gguf and Enter to fetch from the hub"


class ShelfScreen(ModeScreen):
    """Shows what there is; what can be done with it is the models screen's."""

    AUTO_FOCUS = "#models-table"
    HORIZONTAL_BREAKPOINTS = [(0, "-stacked"), (100, "-beside")]  # noqa: RUF012

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self.shelf: Shelf | None = None
        self._details: dict[str, Details] = {}

    def compose_body(self) -> ComposeResult:
        """Filter, table, details, and a line of what is being done."""
        yield Input(id="models-filter", placeholder=_FILTER, compact=True)
        with Container(id="models-body"):
            yield DataTable[Text](id="models-table", cursor_type="row", zebra_stripes=False)
            with VerticalScroll(id="models-details"):
                yield Static("", id="models-facts", markup=False)
        yield StatusLine("models-status")

    def on_mount(self) -> None:
        """Columns, and the engine's reports for the mark of what is loaded."""
        for key, label in _COLUMNS:
            self.table.add_column(label, key=key)
        self.services.engine.subscribe(self, PairOpened, RequestFailed, WorkerDied)

    def on_unmount(self) -> None:
        """The engine may go on without this screen."""
        self.services.engine.unsubscribe(self)

    def on_screen_resume(self, _event: ScreenResume) -> None:
        """Files and free memory may have changed meanwhile."""
        self.reload_shelf()

    @property
    def table(self) -> DataTable[Text]:
        """One row for each model."""
        return self.query_one("#models-table", DataTable)

    @property
    def row(self) -> ModelRow | None:
        """The highlighted model."""
        table = self.table
        if self.shelf is None or not table.is_valid_row_index(table.cursor_row):
            return None
        return self.shelf.find(table.ordered_rows[table.cursor_row].key.value or "")

    @on(ModelsChanged)
    def _models_changed(self) -> None:
        self.reload_shelf()

    @work(exclusive=True, group="shelf")
    async def reload_shelf(self) -> None:
        """Looks through the folders again, in a thread."""
        try:
            settings = self.services.engine_settings()
            shelf = await asyncio.to_thread(load_shelf, settings, Path())
        except EdgespecError as error:
            self.tell(f"{error.message} {error.hint}", error=True)
            return
        except OSError as error:
            self.tell(f"the models cannot be listed: {error}", error=True)
            return
        is_first = self.shelf is None
        self.shelf = shelf
        self._details.clear()
        self.fill_table()
        if is_first:
            self._tell_summary(shelf)

    def _tell_summary(self, shelf: Shelf) -> None:
        here = sum(row.is_here for row in shelf.rows)
        way = "Enter chats with one" if here else "p fetches the highlighted one"
        self.tell(
            f"{here} of {len(shelf.rows)} are here · {human_bytes(shelf.free_bytes)} of memory free · {way}"
        )

    # The table.

    def fill_table(self) -> None:
        """Rows that the filter lets through; the cursor stays on its model."""
        if self.shelf is None:
            return
        table, before = self.table, self.row
        words = self.query_one("#models-filter", Input).value.lower().split()
        shown = [row for row in self.shelf.rows if row.matches(words)]
        cells = [[self._cell(row, key) for key, _ in _COLUMNS] for row in shown]
        with self.prevent(DataTable.RowHighlighted):
            table.clear()
            fit_columns(table, cells)
            for row, texts in zip(shown, cells, strict=True):
                table.add_row(*texts, key=row.spec)
            specs = [row.spec for row in shown]
            wanted = before.spec if before else ""
            table.move_cursor(row=specs.index(wanted) if wanted in specs else 0)
        self.show_details()
        self.refresh_bindings()

    def refresh_cells(self, *keys: str) -> None:
        """Paints some columns again, of rows that are there already."""
        if self.shelf is None:
            return
        for place in list(self.table.ordered_rows):
            row = self.shelf.find(place.key.value or "")
            for key in keys if row is not None else ():
                assert row is not None
                self.table.update_cell(place.key, key, self._cell(row, key), update_width=True)

    def _cell(self, row: ModelRow, key: str) -> Text:
        match key:
            case "mark":
                return Text(self.mark_of(row), style="bold green")
            case "name":
                name = one_line(row.name)
                return Text(
                    name if len(name) <= _NAME_CHARACTERS else f"…{name[-_NAME_CHARACTERS + 1 :]}",
                    style="" if row.is_here else "dim",
                )
            case "size":
                return Text(human_bytes(row.size_bytes) if row.size_bytes else "?", justify="right")
            case "here":
                return Text(self.here_text(row), style="" if row.is_here else "dim")
            case "fit":
                return Text(row.fit, style=_FIT_STYLES[row.fit])
            case _:
                return Text(one_line(row.licence), style="dim")

    def mark_of(self, row: ModelRow) -> str:
        """Whether it is loaded: as the target, or as its draft."""
        pair = self.services.engine.pair
        if pair is None:
            return ""
        name = (
            row.path.stem if row.entry is None and row.path is not None and "/" not in row.name else row.name
        )
        return "●" if name == pair.target else "○" if name == pair.draft else ""

    def here_text(self, row: ModelRow) -> str:
        """Where it is, or how much of it has arrived."""
        if row.origin is not None:
            return str(row.origin)
        if row.arrived:
            return f"{row.arrived / row.size_bytes:.0%} arrived" if row.size_bytes else "partly"
        return "no"

    @on(Input.Changed, "#models-filter")
    def _filtered(self) -> None:
        self.fill_table()

    @on(DataTable.RowHighlighted)
    def _highlighted(self) -> None:
        self.show_details()
        self.refresh_bindings()

    # The details.

    @work(exclusive=True, group="details")
    async def show_details(self) -> None:
        """What is known at once, then what the files' headers say."""
        row, shelf = self.row, self.shelf
        facts = self.query_one("#models-facts", Static)
        if row is None or shelf is None:
            facts.update("Nothing fits the filter; Esc empties it." if shelf else "")
            return
        known = self._details.get(row.spec)
        if known is None:
            facts.update(self._painted(row, Details(known_facts(row, shelf))))
            await asyncio.sleep(_SETTLE_S)
            known = await asyncio.to_thread(describe_row, row, shelf)
            self._details[row.spec] = known
        facts.update(self._painted(row, known))

    def _painted(self, row: ModelRow, details: Details) -> Text:
        mark = {"●": "as the target", "○": "as the draft"}.get(self.mark_of(row))
        text = Text(one_line(row.name), style="bold", end="")
        _add_facts(text, [("loaded", mark)] if mark else [])
        _add_facts(text, details.facts)
        if details.drafts or details.unchecked:
            text.append("\n\nDrafts for it")
        for draft in details.drafts[:_SHOWN_DRAFTS]:
            text.append_text(_draft_lines(draft))
        rest = max(len(details.drafts) - _SHOWN_DRAFTS, 0) + details.unchecked
        if rest:
            text.append(f"\n{rest} {_REST[bool(details.drafts)]}", style="not bold dim")
        if details.header:
            text.append("\n\nIts file")
            _add_facts(text, details.header)
        return text


def _add_facts(text: Text, facts: Iterable[tuple[str, str]]) -> None:
    for name, value in facts:
        text.append("\n")
        text.append(f"{name}: " if name else "", style="not bold dim")
        text.append(one_line(value), style="not bold")


def _draft_lines(draft: Candidate) -> Text:
    size = f"  {human_bytes(draft.size_bytes)}" if draft.size_bytes else ""
    text = Text(f"\n{draft.verdict}", style=f"not bold {_VERDICT_STYLES.get(draft.verdict, 'dim')}")
    text.append(f"  {one_line(draft.name)}{size}", style="default not dim")
    reason = draft.reason + ("; the pair does not fit into the memory" if draft.fits is False else "")
    text.append(f"\n  {one_line(reason)}", style="default dim")
    return text
