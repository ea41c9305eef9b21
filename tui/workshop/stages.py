"""The stages of a piece of work, one under the other, each with its own bar, the time it took and the time it needs."""

from time import monotonic
from typing import Final

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import ProgressBar, Static

from edgespec.text import one_line
from edgespec.worker.protocol import Progressed
from tui.common.wording import duration

_RUNNING, _DONE, _STOPPED = "▸", "✓", "✗"
_TICK_S: Final = 1.0


class StageLine(Horizontal):
    """One stage."""

    def __init__(self, label: str) -> None:
        super().__init__(classes="stage")
        self.label = label
        self._began_s = monotonic()
        self._left_s: float | None = None
        self._mark = _RUNNING
        self._title_text = Static(self._title(), classes="stage-label", markup=False)
        self._bar = ProgressBar(total=1.0, show_eta=False, classes="stage-bar")
        self._time_text = Static("", classes="stage-time", markup=False)

    def compose(self) -> ComposeResult:
        """Mark and label, bar, times."""
        yield from (self._title_text, self._bar, self._time_text)

    def show_progress(self, share: float, left_s: float | None) -> None:
        """How much of it is done, 0 to 1, and how long the rest will take."""
        self._left_s = left_s
        self._bar.update(progress=share)
        self.show_time()

    def show_time(self) -> None:
        """Time spent, and time left where there is something to go by."""
        if self._mark is not _RUNNING:
            return
        left = "" if self._left_s is None else f" · {duration(self._left_s)} left"
        self._time_text.update(f"{duration(monotonic() - self._began_s)}{left}")

    def end(self, *, whole: bool) -> None:
        """It came to its end, or it was stopped."""
        self._left_s = None
        self.show_time()
        self._mark = _DONE if whole else _STOPPED
        if whole:
            self._bar.update(progress=1.0)
        self._title_text.update(self._title())

    def _title(self) -> str:
        return f"{self._mark} {one_line(self.label)}"


class Stages(Vertical):
    """All stages so far; the last one may be running."""

    def __init__(self) -> None:
        super().__init__(id="workshop-stages")
        self._current: StageLine | None = None

    def on_mount(self) -> None:
        """Times go on between reports."""
        self.set_interval(_TICK_S, self._tick)

    async def clear(self) -> None:
        """For the next piece of work."""
        self._current = None
        await self.remove_children()

    async def show_progress(self, event: Progressed, left_s: float | None) -> None:
        """A report of the running stage, or the first one of the next."""
        if not self.is_attached:  # the app is being left
            return
        if self._current is None or self._current.label != event.label:
            self.end(whole=True)
            line = StageLine(event.label)
            await self.mount(line)
            line.scroll_visible(animate=False)
            self._current = line
        self._current.show_progress(event.done / event.total if event.total else 0.0, left_s)

    def end(self, *, whole: bool) -> None:
        """The running stage came to its end, or was stopped."""
        if self._current is not None:
            self._current.end(whole=whole)
        self._current = None

    def _tick(self) -> None:
        if self._current is not None and self.display:
            self._current.show_time()
