"""One download: how far it is, how fast, and what shall become of it when it ends."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import Final

from edgespec.text import human_bytes, human_duration
from edgespec.worker.protocol import Progressed
from tui.models.rows import ModelRow

_WINDOW_S: Final = 10.0
_SHORTEST_S: Final = 0.5


class Ending(StrEnum):
    """Why a download was stopped before its end."""

    NONE = "none"
    PAUSE = "pause"
    """What arrived is kept: the next download goes on from there."""
    DISCARD = "discard"
    """What arrived is removed."""


@dataclass(slots=True)
class Download:
    """Of a model that is not here. `clock` tells seconds."""

    row: ModelRow
    ending: Ending = Ending.NONE
    clock: Callable[[], float] = monotonic
    newest: Progressed | None = None
    _seen: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, event: Progressed) -> None:
        """It came further."""
        if self.newest is not None and event.label != self.newest.label:
            self._seen.clear()
        self.newest = event
        now = self.clock()
        self._seen.append((now, event.done))
        while now - self._seen[0][0] > _WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()

    @property
    def fraction(self) -> float | None:
        """Of the bytes; None while that is not known."""
        event = self.newest
        return min(event.done / event.total, 1.0) if event is not None and event.total else None

    @property
    def arrived(self) -> float:
        """Bytes so far."""
        return self.row.arrived if self.newest is None else self.newest.done

    @property
    def here_text(self) -> str:
        """How far it is, in a word or two."""
        return "fetching" if self.fraction is None else f"fetching {self.fraction:.0%}"

    @property
    def bytes_per_s(self) -> float | None:
        """Of the last ten seconds; None while there is nothing to go by."""
        if not self._seen:
            return None
        (began_s, began), (now_s, now) = self._seen[0], self._seen[-1]
        spent_s = now_s - began_s
        return (now - began) / spent_s if spent_s >= _SHORTEST_S and now > began else None

    def describe(self) -> str:
        """Bytes, rate and time left, in one line."""
        event = self.newest
        if self.ending is not Ending.NONE:
            return f"stopping {self.row.spec}"
        if event is None:
            return f"asking for {self.row.spec}"
        whole = f" of {human_bytes(event.total)}" if event.total else ""
        parts = [f"{human_bytes(event.done)}{whole}"]
        rate = self.bytes_per_s
        if rate is not None:
            parts.append(f"{human_bytes(rate)}/s")
            if event.total and event.total > event.done:
                parts.append(f"about {human_duration((event.total - event.done) / rate)} left")
        return " · ".join([*parts, event.label])
