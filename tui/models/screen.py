"""The models screen: chat with one, race it, fetch it, delete it, take it into the workshop."""

import asyncio
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Input

from edgespec.catalog.entries import Catalog, ModelEntry
from edgespec.catalog.resolve import entry_of, find_removable, remove_model
from edgespec.errors import EdgespecError
from edgespec.text import human_bytes
from edgespec.worker.protocol import PairOpened, RequestFailed, WorkerDied
from tui.common.ask import AskScreen
from tui.models.pulling import PullingScreen
from tui.models.rows import ModelRow, Origin
from tui.services.engine_client import EngineState
from tui.services.launch import ScreenName
from tui.services.messages import WorkerReported

_NEEDS_A_PULL = ("pause", "cancel_pull")


class ModelsScreen(PullingScreen):
    """Keys act on the highlighted model."""

    NAME = "models"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "c", "chat", "Chat", id="models.chat", tooltip="Load it and go to the chat; Enter does it, too"
        ),
        Binding("r", "race", "Race", id="models.race", tooltip="Load it and race it: plain against drafted"),
        Binding(
            "p", "pull", "Fetch", id="models.pull", tooltip="Fetch it; what arrived before is gone on from"
        ),
        Binding(
            "space", "pause", "Pause", id="models.pause", tooltip="Pause the fetch, or go on; nothing is lost"
        ),
        Binding(
            "x", "cancel_pull", "Cancel", id="models.cancel", tooltip="End the fetch; what arrived is removed"
        ),
        Binding("d", "delete", "Delete", id="models.delete", tooltip="Delete its files, after a question"),
        Binding(
            "w",
            "workshop",
            "Workshop",
            id="models.workshop",
            tooltip="Take it into the workshop: prune, quantize",
        ),
        Binding("slash", "filter", "Filter", id="models.filter", tooltip="Narrow the table, or name another"),
        Binding("escape", "leave_filter", "Back", id="models.back", tooltip="Empty the filter", show=False),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys for a fetch are there where one is, or where something of one is left."""
        if action in _NEEDS_A_PULL:
            return self.has_pull()
        if action == "pull":
            return self.row is None or not self.row.is_here
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
        row = self.row
        if row is None or not self._is_usable(row):
            return
        is_loaded = self.mark_of(row) == "●" and self.services.engine.state in (
            EngineState.READY,
            EngineState.BUSY,
        )
        if not is_loaded and self.services.engine.state is EngineState.BUSY:
            self.tell("an answer is under way in the chat: Esc there stops it", error=True)
            return
        if not is_loaded:
            self.services.open_engine(row.spec)
        self.services.go(screen)

    def action_workshop(self) -> None:
        """Takes it into the workshop."""
        row = self.row
        if row is not None and self._is_usable(row):
            self.services.go("workshop", with_=row.spec)

    def _is_usable(self, row: ModelRow) -> bool:
        if row.trouble:
            self.tell(row.trouble, error=True)
        elif not row.is_here:
            self.tell(f"{row.name} is not here yet: p fetches it", error=True)
        return row.is_here and not row.trouble

    # Deleting one.

    @work(exclusive=True, group="delete")
    async def action_delete(self) -> None:
        """Deletes its files, after a question; a file of the user's own is never touched."""
        row, shelf = self.row, self.shelf
        if row is None or shelf is None:
            return
        if not row.is_here:
            left = "; x throws away what has arrived" if row.arrived else ""
            self.tell(
                f"nothing of {row.name} is on disk{left}" if not left else f"{row.name} is not whole{left}"
            )
            return
        try:
            # The core speaks of names; a stray in the models folder has the name of its own folder.
            name = row.spec if row.origin in (Origin.FOLDER, Origin.HUB) else row.name
            found = await asyncio.to_thread(find_removable, name, shelf.catalog)
            is_loaded = bool(self.mark_of(row))
            question = f"Delete {row.name}? {human_bytes(found.size_bytes)} are freed: {found.path}"
            question += "\n\nIt is loaded now, and will be unloaded." if is_loaded else ""
            if not await self.app.push_screen_wait(AskScreen(question, "Delete", "Keep")):
                return
            if is_loaded:
                await self.services.engine.close()
            freed = await asyncio.to_thread(remove_model, name, shelf.catalog)
        except EdgespecError as error:
            self.tell(f"{error.message} {error.hint}", error=True)
            return
        except OSError as error:
            self.tell(f"{row.name} cannot be deleted: {error.strerror or error}", error=True)
            return
        self.tell(f"deleted {row.name}: {human_bytes(freed)} freed")
        self.services.models_changed()

    # The filter.

    def action_filter(self) -> None:
        """Into the line above the table."""
        self.query_one("#models-filter", Input).focus()

    def action_leave_filter(self) -> None:
        """Shows all models again."""
        self.query_one("#models-filter", Input).value = ""
        self.table.focus()

    @on(Input.Submitted, "#models-filter")
    def _submitted(self, event: Input.Submitted) -> None:
        self.table.focus()
        if self.table.row_count == 0 and self.shelf is not None and event.value.strip():
            self._fetch_named(event.value.strip(), self.shelf.catalog)

    def _fetch_named(self, spec: str, catalog: Catalog) -> None:
        try:
            entry = entry_of(spec, catalog)
        except EdgespecError as error:
            self.tell(f"{error.message} {error.hint}", error=True)
            return
        if entry is None:
            self.tell(f"{spec} is no model of the hub: write owner/repo:file.gguf", error=True)
            return
        self.query_one("#models-filter", Input).value = ""
        self.pull(_row_of(entry))

    @on(WorkerReported)
    def _engine_reported(self, message: WorkerReported) -> None:
        if message.source is self.services.engine and isinstance(
            message.event, PairOpened | RequestFailed | WorkerDied
        ):
            self.refresh_cells("mark")
            self.show_details()


def _row_of(entry: ModelEntry) -> ModelRow:
    return ModelRow(entry.name, entry.name, entry, entry.size_bytes, licence=entry.licence)
