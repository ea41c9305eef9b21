"""A text area in which a long paste is one mark: the cursor passes it in one step, and it is deleted as one."""

from textual import events
from textual.document._document import EditResult, Location, Selection
from textual.document._edit import Edit
from textual.widgets import TextArea

from tui.chat.pastes import Pastes


class MarkedArea(TextArea):
    """Collapses what is pasted into it."""

    def __init__(self, widget_id: str, placeholder: str) -> None:
        self.pastes = Pastes()
        super().__init__(id=widget_id, compact=True, highlight_cursor_line=False, placeholder=placeholder)

    @property
    def message(self) -> str:
        """What is written, pastes in full."""
        return self.pastes.expand(self.text)

    def open_mark(self, location: Location | None = None) -> bool:
        """Puts a pasted text in the place of its mark; returns whether there is one.

        Args:
            location: In the mark or at one of its edges; the cursor's unless given.
        """
        row, column = self.cursor_location if location is None else location
        line = self.document[row]
        for start, end in self.pastes.spans(line):
            if start <= column <= end:
                self.replace(self.pastes.text_of(line[start:end]), (row, start), (row, end))
                return True
        return False

    def edit(self, edit: Edit) -> EditResult:
        """Takes marks whole."""
        start, end = sorted((edit.from_location, edit.to_location))
        if start != end:
            edit = Edit(
                edit.text, self._outside(start, -1), self._outside(end, 1), edit.maintain_selection_offset
            )
        return super().edit(edit)

    def stand_in(self, pasted: str) -> str:
        """What is written in the place of a text that is pasted."""
        return self.pastes.collapse(pasted)

    async def _on_paste(self, event: events.Paste) -> None:
        # Terminals send what their Enter key would send between lines.
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        mark = self.stand_in(text)
        if mark != text:
            event.stop()
            event.prevent_default()
            await super()._on_paste(events.Paste(mark))

    async def _on_click(self, event: events.Click) -> None:
        location = self.get_target_document_location(event)
        if self._outside(location, -1) != location:
            self.open_mark(location)

    def _validate_selection(self, selection: Selection) -> Selection:
        """No end of it is inside a mark: it goes on to the edge that it was on the way to."""
        valid: Selection = super()._validate_selection(selection)
        before = self.selection.end
        ends = [self._outside(end, 1 if end > before else -1) for end in valid]
        return Selection(*ends)

    def _outside(self, location: Location, direction: int) -> Location:
        """The edge of the mark that a place is inside of; the place itself elsewhere."""
        row, column = location
        if row >= self.document.line_count:
            return location
        for start, end in self.pastes.spans(self.document[row]):
            if start < column < end:
                return (row, end if direction > 0 else start)
        return location
