"""How fast this machine does the stages of the workshop's work, learnt from those that it has done."""

import hashlib
import json
import logging
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from edgespec.documents import build, read_json
from edgespec.errors import ConfigError
from edgespec.files import changing, written_whole
from edgespec.llama.library import default_threads
from edgespec.paths import costs_dir
from edgespec.progress import Progress, Unit

log = logging.getLogger(__name__)

_VERSION: Final = 1
_FIRST_S: Final[Mapping[str, float]] = {
    "loading the model": 1.0,
    "writing answers": 0.11,
    "making a copy in half precision": 3.0,
    "reading the calibration text": 0.04,
    "comparing windows of blocks": 0.02,
    "choosing block": 0.02,
    "scoring blocks": 0.02,
    "computing gradients": 0.2,
    "measuring the importance": 0.03,
    "repairing blocks": 0.08,
    "writing": 3.0,
    "quantizing": 10.0,
    "quality of the dense model": 0.02,
    "quality of the new model": 0.02,
    "timing both, token by token": 0.11,
}
"""Seconds for a billion of work (`Step.work`) by two threads, before anything was done here."""
_FIRST_THREADS: Final = 2
_LEAST_S: Final = 0.5
"""Of a stage from which a pace is learnt: shorter ones are mostly their beginning."""


@dataclass(frozen=True, slots=True)
class _Kept:
    seconds: dict[str, float]
    """For a billion of work, by the stage's kind."""


@dataclass(frozen=True, slots=True)
class Paces:
    """Seconds for a billion of work, by the stage's kind."""

    learnt: Mapping[str, float]

    @classmethod
    def load(cls) -> "Paces":
        """Those of this machine; nothing is learnt where they cannot be read."""
        file = _file()
        try:
            kept = build(_Kept, read_json(file, version=_VERSION), str(file)) if file.exists() else _Kept({})
        except ConfigError as error:
            log.info("learning again: %s", error)
            return cls({})
        return cls({kind: one for kind, one in kept.seconds.items() if 0.0 < one < math.inf})

    def seconds(self, label: str, work: float) -> float:
        """How long a stage with so many billions of work will take."""
        kind = _kind(label)
        first = _FIRST_S.get(kind, 0.0) * _FIRST_THREADS / max(1, default_threads())
        return work * self.learnt.get(kind, first)

    def knows(self, label: str) -> bool:
        """Whether such a stage was done here before."""
        return _kind(label) in self.learnt

    def keep(self, taken: Mapping[str, float], work: Mapping[str, float]) -> None:
        """Keeps what these stages took, for the next time; where that cannot be written, nothing is.

        Args:
            taken: Seconds, by label.
            work: Billions, by label.
        """
        sums: dict[str, tuple[float, float]] = {}
        for label, seconds in taken.items():
            if label in work and work[label] > 0:
                before = sums.get(_kind(label), (0.0, 0.0))
                sums[_kind(label)] = (before[0] + seconds, before[1] + work[label])
        learnt = {kind: seconds / done for kind, (seconds, done) in sums.items() if seconds >= _LEAST_S}
        try:
            with changing(_file()) as own, written_whole(own) as unfinished:
                document = {"version": _VERSION, "seconds": {**self.load().learnt, **learnt}}
                unfinished.write_text(json.dumps(document), encoding="utf-8")
        except OSError as error:
            log.info("the paces are not kept: %s", error)


class TimedProgress:
    """`Progress` that also times its stages; what the other side takes, a pause above all, does not count."""

    def __init__(self, told: Progress) -> None:
        self._told = told
        self._label = ""
        self._since_s = monotonic()
        self.taken_s: dict[str, float] = {}
        """Seconds, by label."""

    def stage(self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps") -> None:
        """Begins a stage; the one before is over."""
        self._count()
        self._label = label
        self._told.stage(label, total, done=done, unit=unit)
        self._since_s = monotonic()

    def advance(self, amount: float = 1) -> None:
        """Goes on."""
        self._count()
        self._told.advance(amount)
        self._since_s = monotonic()

    def end(self) -> None:
        """The last stage is over."""
        self._count()
        self._label = ""

    def _count(self) -> None:
        now = monotonic()
        if self._label:
            self.taken_s[self._label] = self.taken_s.get(self._label, 0.0) + now - self._since_s
        self._since_s = now


def _kind(label: str) -> str:
    """Stages that are numbered are of one kind."""
    return "choosing block" if label.startswith("choosing block") else label


def _file() -> Path:
    machine = f"{platform.node()}|{platform.processor()}|{default_threads()}"
    return costs_dir() / f"workshop.{hashlib.sha256(machine.encode()).hexdigest()[:16]}.json"
