"""Progress that remembers what it was told."""

from collections.abc import Callable
from dataclasses import dataclass, field

from edgespec.progress import Unit


@dataclass
class Told:
    """`seen` holds what stood there after every call: how much was done, of how much, of what."""

    seen: list[tuple[float, float | None, str]] = field(default_factory=list)
    units: set[Unit] = field(default_factory=set)
    watch: Callable[[float, str], None] = lambda _done, _label: None
    """Told what is done and of what, as it happens."""
    _done: float = 0.0
    _total: float | None = None
    _label: str = ""

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        self._label, self._total, self._done = label, total, done
        self.units.add(unit)
        self._note()

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        self._note()

    def _note(self) -> None:
        self.seen.append((self._done, self._total, self._label))
        self.watch(self._done, self._label)
