"""The stages of a piece of work, one under the other, each with its own bar, the time it took and the time it needs."""

from collections.abc import Sequence
from time import monotonic
from typing import Final

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import ProgressBar, Static

from edgespec.text import human_duration, one_line
from edgespec.worker.jobs.expected import ExpectedStage
from edgespec.worker.protocol import Progressed

_WAITING, _RUNNING, _DONE, _STOPPED = "·", "▸", "✓", "✗"
_TICK_S: Final = 1.0


class StageLine(Horizontal):
    """One stage: it waits for its turn until it begins."""

    def __init__(self, label: str, expected_s: float | None = None) -> None:
        super().__init__(classes="stage")
        self.label = label
        self._expected_s = expected_s
        self._began_s = 0.0
        self._told_s: float | None = None
        """Time left as it was told last, and when."""
        self._told_at_s = 0.0
        self._mark = _WAITING
        self._title_text = Static(self._title(), classes="stage-label", markup=False)
        self._bar = ProgressBar(total=1.0, show_eta=False, classes="stage-bar")
        self._time_text = Static(self._waiting_text(), classes="stage-time", markup=False)

    def compose(self) -> ComposeResult:
        """Mark and label, bar, times."""
        yield from (self._title_text, self._bar, self._time_text)

    @property
    def waits(self) -> bool:
        """Whether it has not begun."""
        return self._mark is _WAITING

    @property
    def left_s(self) -> float | None:
        """Time that it still needs, as it was told or expected; None where there is nothing to go by."""
        now = monotonic()
        if self._mark is _WAITING:
            return self._expected_s
        if self._mark is not _RUNNING:
            return 0.0
        if self._told_s is not None:
            return max(0.0, self._told_s - (now - self._told_at_s))
        return None if self._expected_s is None else max(0.0, self._expected_s - (now - self._began_s))

    def begin(self) -> None:
        """Its turn has come."""
        self._began_s, self._mark = monotonic(), _RUNNING
        self._title_text.update(self._title())
        self.show_time()

    def show_progress(self, share: float, left_s: float | None) -> None:
        """How much of it is done, 0 to 1, and how long the rest will take."""
        self._told_s, self._told_at_s = left_s, monotonic()
        self._bar.update(progress=share)
        self.show_time()

    def show_time(self) -> None:
        """Time spent, and time left where there is something to go by."""
        if self._mark is not _RUNNING:
            return
        left_s = self.left_s
        left = "" if left_s is None else f" · ~{human_duration(left_s)} left"
        self._time_text.update(f"{human_duration(monotonic() - self._began_s)}{left}")

    def end(self, *, whole: bool) -> None:
        """It came to its end, or it was stopped."""
        self._mark = _DONE if whole else _STOPPED
        self._time_text.update(human_duration(monotonic() - self._began_s))
        if whole:
            self._bar.update(progress=1.0)
        self._title_text.update(self._title())

    def _title(self) -> str:
        return f"{self._mark} {one_line(self.label)}"

    def _waiting_text(self) -> str:
        return "" if self._expected_s is None else f"~{human_duration(self._expected_s)}"


class Stages(Vertical):
    """All stages: those that are over, the one that runs, and those that are expected."""

    def __init__(self) -> None:
        super().__init__(id="workshop-stages")
        self._current: StageLine | None = None

    def compose(self) -> ComposeResult:
        """How long it all takes; the lines come with the work."""
        yield Static("", id="stages-left", markup=False)

    def on_mount(self) -> None:
        """Times go on between reports."""
        self.set_interval(_TICK_S, self._tick)

    @property
    def _lines(self) -> list[StageLine]:
        return list(self.query(StageLine))

    async def expect(self, stages: Sequence[ExpectedStage]) -> None:
        """For the next piece of work: its stages wait, and the first of them begins."""
        self._current = None
        await self.query(StageLine).remove()
        if self.is_attached and stages:
            await self.mount_all([StageLine(stage.label, stage.seconds) for stage in stages])
        self.begin_next()

    def begin_next(self) -> None:
        """The stage before is over, and the next that is expected begins, before the work says a word of it."""
        self.end(whole=True)
        line = next((line for line in self._lines if line.waits and line.display), None)
        if line is not None:
            self._begin(line)
        self._tell_left()

    async def show_progress(self, event: Progressed, left_s: float | None) -> None:
        """A report of the running stage, or the first one of another."""
        if not self.is_attached:  # the app is being left
            return
        if self._current is None or self._current.label != event.label:
            await self._begin_named(event.label)
        if self._current is not None:
            self._current.show_progress(event.done / event.total if event.total else 0.0, left_s)
        self._tell_left()

    def end(self, *, whole: bool) -> None:
        """The running stage came to its end, or was stopped."""
        if self._current is not None:
            self._current.end(whole=whole)
        self._current = None
        self._tell_left()

    async def _begin_named(self, label: str) -> None:
        """The stage of that name; what was expected before it, and did not come, is not shown any more."""
        waiting = [line for line in self._lines if line.waits and line.display]
        found = next((line for line in waiting if line.label == label), None)
        self.end(whole=True)
        if found is None:
            found = StageLine(label)
            await self.mount(found, before=waiting[0] if waiting else None)
        else:
            for line in waiting[: waiting.index(found)]:
                line.display = False
        self._begin(found)

    def _begin(self, line: StageLine) -> None:
        line.begin()
        line.scroll_visible(animate=False)
        self._current = line

    def _tell_left(self) -> None:
        lefts = [line.left_s for line in self._lines if line.display]
        known = [left for left in lefts if left is not None]
        is_told = self._current is not None and len(known) == len(lefts) and sum(known) > 0
        text = f"about {human_duration(sum(known))} left in all" if is_told else ""
        self.query_one("#stages-left", Static).update(text)

    def _tick(self) -> None:
        if self._current is not None and self.display:
            self._current.show_time()
            self._tell_left()
