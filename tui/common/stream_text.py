"""Text that grows at its end: only its last line is wrapped and painted again, however long it is."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from edgespec.decode.token import DraftSource
from edgespec.text import plain_text
from edgespec.worker.protocol import Piece

_TAB = "    "
_SCREEN_PARTS = 5
"""A growing text takes a fifth of the screen's rows at a time: each time all of it is laid out and painted anew."""
_Run = tuple[str, DraftSource]


class StreamText(Widget):
    """Plain text by source.

    Args:
        pieces: What is there already.
        tinted: Let what a draft thought of first stand out.
        is_growing: Take several rows at a time.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "stream-text--model",
        "stream-text--ngram",
        "stream-text--grammar",
    }
    DEFAULT_CSS = """
    StreamText {
        height: auto;
        width: 1fr;
        .stream-text--model { background: $success-muted; color: $text-success; }
        .stream-text--ngram { background: $accent-muted; color: $text-accent; }
        .stream-text--grammar { background: $primary-muted; color: $text-primary; }
    }
    """

    def __init__(
        self, pieces: Iterable[Piece] = (), *, tinted: bool = False, is_growing: bool = False
    ) -> None:
        super().__init__()
        self._lines: list[list[_Run]] = [[]]
        self._rows: list[list[_Run]] = [[]]
        self._first_row_of_last_line = 0
        self._wrapped_width = 0
        self._tinted = tinted
        self._is_growing = is_growing
        self._n_rows = 0
        self._add(pieces)

    @property
    def text(self) -> str:
        """Everything that was added."""
        return "\n".join("".join(text for text, _ in line) for line in self._lines)

    def append(self, pieces: Iterable[Piece]) -> None:
        """Adds text at the end."""
        touched = self._first_row_of_last_line
        self._add(pieces)
        self._wrap_from_last(touched)
        if len(self._rows) > self._n_rows:
            self.refresh(layout=True)
        else:
            self.refresh(Region(0, touched, self._wrapped_width, len(self._rows) - touched))

    def clear(self) -> None:
        """Throws the text away."""
        self._lines, self._wrapped_width = [[]], 0
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Rows at that width."""
        self._wrap(width)
        step = max(viewport.height // _SCREEN_PARTS, 1) if self._is_growing else 1
        self._n_rows = -(-len(self._rows) // step) * step
        return self._n_rows

    def render_line(self, y: int) -> Strip:
        """One row."""
        width = self.size.width
        self._wrap(width)
        if y >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        base = self.rich_style
        styles = {source: base + self._style_of(source) for source in DraftSource}
        segments = [Segment(text, styles[source]) for text, source in self._rows[y]]
        strip = Strip(segments).adjust_cell_length(width, base)
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(y)) is not None:
            strip = self._selected(strip, *span)
        return strip.apply_offsets(0, y)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What the mouse selected."""
        rows = "\n".join("".join(text for text, _ in row) for row in self._rows)
        return selection.extract(rows), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Paints the selection."""
        self.refresh()

    def _selected(self, strip: Strip, start: int, end: int) -> Strip:
        stop = strip.cell_length if end == -1 else end
        style = self.screen.get_component_rich_style("screen--selection")
        before, inside, after = (
            strip.crop(0, start),
            strip.crop(start, stop),
            strip.crop(stop, strip.cell_length),
        )
        return Strip.join([before, inside.apply_style(style), after])

    def _style_of(self, source: DraftSource) -> Style:
        if not self._tinted or source is DraftSource.TARGET:
            return Style.null()
        return self.get_component_rich_style(f"stream-text--{source}", partial=True)

    def _add(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            head, *more = plain_text(piece.text).replace("\t", _TAB).split("\n")
            self._extend_line(head, piece.source)
            for line in more:
                self._lines.append([])
                self._extend_line(line, piece.source)

    def _extend_line(self, text: str, source: DraftSource) -> None:
        line = self._lines[-1]
        if line and line[-1][1] == source:
            line[-1] = (line[-1][0] + text, source)
        elif text:
            line.append((text, source))

    def _wrap(self, width: int) -> None:
        """All lines, when the width is another one."""
        if width == self._wrapped_width or width <= 0:
            return
        self._wrapped_width, self._rows = width, []
        for line in self._lines:
            self._first_row_of_last_line = len(self._rows)
            self._rows += wrap_runs(line, width)
        self._n_wrapped = len(self._lines)

    def _wrap_from_last(self, first_row: int) -> None:
        if self._wrapped_width <= 0:
            return
        del self._rows[first_row:]
        for line in self._lines[self._n_wrapped - 1 :]:
            self._first_row_of_last_line = len(self._rows)
            self._rows += wrap_runs(line, self._wrapped_width)
        self._n_wrapped = len(self._lines)


def wrap_runs(runs: list[_Run], width: int) -> list[list[_Run]]:
    """Rows of at most `width` cells, broken after spaces where there are any."""
    text = "".join(run for run, _ in runs)
    if not text:
        return [[]]
    ends = list(_row_ends(text, width))
    return [_cut(runs, start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _row_ends(text: str, width: int) -> Iterator[int]:
    start = 0
    while start < len(text):
        end, cells, last_space = start, 0, -1
        while end < len(text):
            cells += 1 if text[end] < "\x7f" else cell_len(text[end])
            if cells > width and end > start:
                break
            end += 1
            if text[end - 1] == " ":
                last_space = end
        if end < len(text) and text[end] == " ":
            end += 1  # a space that hangs over the edge belongs to the row before
        elif end < len(text) and last_space > start:
            end = last_space
        yield end
        start = end


def _cut(runs: list[_Run], start: int, end: int) -> list[_Run]:
    row: list[_Run] = []
    place = 0
    for text, source in runs:
        low, high = max(start - place, 0), min(end - place, len(text))
        if low < high:
            row.append((text[low:high], source))
        place += len(text)
    return row
