"""What came of a trial, and what of it can be held against edgespec."""

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .home import Home
from .layer import Counted
from .run import LIMIT_S, Ended, run
from .work import EDGESPEC, Work


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A run that nothing happened to."""

    ended: Ended
    counted: Counted
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial."""

    n_trials: int
    """How often something happened to a run; a moment after its end does not count."""
    faults: tuple[str, ...]
    moments: tuple[float, ...] = ()
    """Of those that cut a run off: how far it was, as shares of an undisturbed one."""


def patience_s(work: Work, whole: Undisturbed) -> float:
    """How long its user bears with it; one in a terminal sees that nothing comes any more."""
    return max(30.0, 4 * whole.ended.duration_s) if work.needs_terminal else LIMIT_S


def was_early(ended: Ended) -> bool:
    """Whether Python itself was still starting, which a signal ends before any program could say a word."""
    by_signal = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
    return ended.code in by_signal or "Fatal Python error: init_" in ended.errors


def unlisted(home: Home, work: Work) -> Iterator[str]:
    """Scratch folders of killed work that `edgespec doctor` does not show."""
    hidden = home.hidden()
    if hidden:
        doctor = Work("doctor", ("doctor",), (*EDGESPEC,), work.environment)
        shown = run(doctor, home)
        said = (home.streams / "out").read_text(encoding="utf-8", errors="replace")
        yield from shown.said
        yield from (f"doctor does not show {one}" for one in sorted(hidden) if one not in said)


def missing(work: Work, home: Home, whole: Undisturbed) -> Iterator[str]:
    """Files of an undisturbed run that a run which says it is done has not written."""
    if not work.varies:
        there = home.files()
        for name in whole.files:
            if name not in there:
                yield f"{name} is not there"
