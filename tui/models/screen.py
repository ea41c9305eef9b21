"""The models screen: chat with one, race it, download it, delete it, take it into the workshop."""

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.events import ScreenResume
from textual.widgets import DataTable, Input

from edgespec.catalog.entries import Catalog, ModelEntry
from edgespec.catalog.removal import find_removable, remove_model
from edgespec.catalog.resolve import entry_of
from edgespec.errors import EdgespecError
from edgespec.text import human_bytes
from tui.common.ask import AskScreen
from tui.common.mode_screen import ModeScreen
from tui.common.status_line import StatusLine
from tui.models.downloads import Downloads
from tui.models.model_details import ModelDetails
from tui.models.model_table import ModelTable
from tui.models.rows import ModelRow, Origin, Role
from tui.services.engine_client import EngineState
from tui.services.launch import ScreenName
from tui.services.messages import ModelsChanged

_FILTER = "filter by name, or owner/repo:Q4_K_M and Enter to fetch from the hub"


def _key(key: str, action: str, title: str, tooltip: str, *, name: str) -> Binding:
    return Binding(key, action, title, id=f"models.{name}", tooltip=tooltip)


class ModelsScreen(ModeScreen):
    """Keys act on the highlighted model."""

    NAME = "models"
    AUTO_FOCUS = "#models-table"
    HORIZONTAL_BREAKPOINTS = [(0, "-stacked"), (100, "-beside")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        _key("c", "chat", "Chat", "Load it and chat; Enter does the same", name="chat"),
        _key("r", "race", "Race", "Load it and race it, plain against drafted", name="race"),
        _key("p", "download", "Fetch", "Fetch it, or resume a paused fetch", name="pull"),
        _key("space", "pause", "Pause", "Pause the fetch, or resume it", name="pause"),
        _key("x", "cancel_download", "Cancel", "Cancel the fetch and delete what arrived", name="cancel"),
        _key("d", "delete", "Delete", "Delete its files, after a question", name="delete"),
        _key("w", "workshop", "Workshop", "Take it into the workshop: prune, quantize", name="workshop"),
        _key("slash", "filter", "Filter", "Narrow the table, or name another", name="filter"),
        Binding(
            "down",
            "enter_table",
            "Table",
            id="models.table",
            tooltip="From the filter into the table",
            show=False,
        ),
        Binding("escape", "leave_filter", "Back", id="models.back", tooltip="Empty the filter", show=False),
    ]

    def compose_body(self) -> ComposeResult:
        """Filter, table, details, the bar of a download, and a line of what is being done."""
        yield Input(id="models-filter", placeholder=_FILTER, compact=True)
        with Container(id="models-body"):
            yield ModelTable(self.services)
            yield ModelDetails()
        yield Downloads(self.services)
        yield StatusLine("models-status")

    @property
    def table(self) -> ModelTable:
        """One row for each model."""
        return self.query_one(ModelTable)

    @property
    def downloads(self) -> Downloads:
        """Those under way."""
        return self.query_one(Downloads)

    @property
    def _filter(self) -> Input:
        return self.query_one("#models-filter", Input)

    def on_screen_resume(self, _event: ScreenResume) -> None:
        """Files and free memory may have changed meanwhile."""
        self.table.reload()

    @on(ModelsChanged)
    def _models_changed(self) -> None:
        self.table.reload()

    @on(ModelTable.Highlighted)
    def _highlighted(self, message: ModelTable.Highlighted) -> None:
        row = message.row
        role = row.role_in(self.services.engine.pair) if row else None
        self.query_one(ModelDetails).show(self.table.models, row, role)
        self.downloads.highlight(row)
        self.refresh_bindings()

    @on(Downloads.Advanced)
    def _download_advanced(self, message: Downloads.Advanced) -> None:
        self.table.show_downloads(message.texts)
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys for a download are there where one is, or where something of one is left."""
        match action:
            case "pause" | "cancel_download":
                return self.downloads.has_one
            case "download":
                return self.table.row is None or not self.table.row.is_here
            case _:
                return super().check_action(action, parameters)

    # Using a model.

    @on(DataTable.RowSelected, "#models-table")
    def _selected(self) -> None:
        self.action_chat()

    def action_chat(self) -> None:
        """Loads it and goes to the chat."""
        self._open_and_go("chat")

    def action_race(self) -> None:
        """Loads it and goes to the race."""
        self._open_and_go("race")

    def _open_and_go(self, screen: ScreenName) -> None:
        row, engine = self.table.row, self.services.engine
        if row is None or self.lacks_engine("another model of this list") or not self._is_usable(row):
            return
        if row.role_in(engine.pair) is not Role.TARGET:
            if engine.state is EngineState.BUSY:
                self.tell("an answer is under way in the chat: Esc there stops it", error=True)
                return
            self.services.open_engine(row.spec)
        self.services.go(screen)

    def action_workshop(self) -> None:
        """Takes it into the workshop."""
        row = self.table.row
        if row is not None and self._is_usable(row):
            self.services.go("workshop", with_=row.spec)

    def _is_usable(self, row: ModelRow) -> bool:
        if row.trouble:
            self.tell(row.trouble, error=True)
        elif not row.is_here:
            self.tell(f"{row.name} is not on disk yet: p fetches it", error=True)
        return row.is_here and not row.trouble

    # Downloading one.

    def action_download(self) -> None:
        """Downloads the highlighted model."""
        row = self.table.row
        if row is None:
            return
        if row.is_here:
            self.tell(f"{row.name} is already on disk: {row.path}")
        else:
            self.downloads.start(row)

    def action_pause(self) -> None:
        """Pauses the download of the highlighted model, or goes on with it."""
        self.downloads.pause()

    def action_cancel_download(self) -> None:
        """Ends the download of the highlighted model and removes what arrived."""
        self.downloads.cancel()

    # Deleting one.

    @work(exclusive=True, group="delete")
    async def action_delete(self) -> None:
        """Deletes its files, after a question; a file of the user's own is never touched."""
        row, models = self.table.row, self.table.models
        if row is None or models is None:
            return
        if not row.is_here:
            whole = f"{row.name} is only partly downloaded; x discards that"
            self.tell(whole if row.arrived else f"nothing of {row.name} is on disk")
            return
        try:
            freed = await self._delete(row, models.catalog)
        except EdgespecError as error:
            self.tell(f"{error.message} {error.hint}", error=True)
            return
        except OSError as error:
            self.tell(f"{row.name} cannot be deleted: {error.strerror or error}", error=True)
            return
        if freed is not None:
            self.tell(f"deleted {row.name}: {human_bytes(freed)} freed")
            self.services.models_changed()

    async def _delete(self, row: ModelRow, catalog: Catalog) -> int | None:
        """Returns the bytes that are free now; None when the question was answered with no."""
        # The core speaks of names; a stray in the models folder has the name of its own folder.
        name = row.spec if row.origin in (Origin.FOLDER, Origin.HUB) else row.name
        found = await asyncio.to_thread(find_removable, name, catalog)
        is_loaded = row.role_in(self.services.engine.pair) is not None
        question = f"Delete {row.name}? this frees {human_bytes(found.size_bytes)}: {found.path}"
        question += "\n\nIt is loaded now, and will be unloaded." if is_loaded else ""
        if not await self.app.push_screen_wait(AskScreen(question, "Delete", "Keep")):
            return None
        if is_loaded:
            await self.services.engine.close()
        return await asyncio.to_thread(remove_model, name, catalog)

    # The filter.

    def action_filter(self) -> None:
        """Into the line above the table."""
        self._filter.focus()

    def action_enter_table(self) -> None:
        """From the filter into the table."""
        self.table.focus()

    def action_leave_filter(self) -> None:
        """Shows all models again."""
        self._filter.value = ""
        self.table.focus()

    @on(Input.Changed, "#models-filter")
    def _filtered(self, event: Input.Changed) -> None:
        self.table.filter(event.value)

    @on(Input.Submitted, "#models-filter")
    def _submitted(self, event: Input.Submitted) -> None:
        models, spec = self.table.models, event.value.strip()
        if self.table.row_count == 0 and models is not None and spec:
            self._download_named(spec, models.catalog)
        elif spec:
            # In the table letters are commands: who goes on typing a name would give them.
            self.tell("Down goes to the table, where keys act on the model")
        else:
            self.table.focus()

    def _download_named(self, spec: str, catalog: Catalog) -> None:
        try:
            entry = entry_of(spec, catalog)
        except EdgespecError as error:
            self.tell(f"{error.message} {error.hint}", error=True)
            return
        if entry is None:
            self.tell(f"{spec} is not a model of the hub: write owner/repo:Q4_K_M", error=True)
            return
        self._filter.value = ""
        self.table.focus()
        self.downloads.start(_row_of(entry))


def _row_of(entry: ModelEntry) -> ModelRow:
    return ModelRow(entry.name, entry.name, entry, entry.size_bytes, licence=entry.licence)
