"""A run of a work in its home, with something that happens to it, and what was wrong with how it ended."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .home import Home
from .process import Running, end_all
from .terminal import Terminal
from .work import Work

LIMIT_S: Final = 600.0
"""Nothing that is run here takes so long: what does has hung."""
_LEAVE_S: Final = 120.0
"""What is told to end takes no longer, beside other work either."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What happens to a process in its middle."""

    after_s: float
    strike: Callable[[Running, Home], bool]
    """Returns whether it met anybody."""
    ends_it: bool = True
    """Whether it is to end of that; else its user goes on."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over."""

    code: int
    """Negative: the signal that ended it."""
    duration_s: float
    was_struck: bool
    missed: tuple[str, ...]
    """What a user misses, had nothing happened."""
    said: tuple[str, ...]
    """Complaints about how it ended, where nobody killed it."""
    stayed: tuple[str, ...]
    """Complaints about processes that did not end, and whatever else may never be."""
    errors: str


def run(
    work: Work,
    home: Home,
    *,
    arguments: Sequence[str] | None = None,
    layer: Mapping[str, str] | None = None,
    cut: Cut | None = None,
    before: Sequence[str] = (),
    in_terminal: bool = False,
    quiet: bool = False,
    limit_s: float = LIMIT_S,
    grace_s: float = 10.0,
) -> Ended:
    """Runs a work to its end.

    Args:
        work: What is done.
        home: Where.
        arguments: In place of the work's own.
        layer: Variables of the layer that it meets.
        cut: What happens to it.
        before: A command that runs it in place of itself, such as one that sets limits.
        in_terminal: Its streams are a terminal's, whether it needs one or not.
        quiet: It can say nothing.
        limit_s: How long its user bears with it.
        grace_s: In which whatever it began has to end, too.
    """
    command = [*before, *work.program, *(work.arguments if arguments is None else arguments)]
    environment = {**home.environment(work.environment), **(layer or {})}
    folder = home.folder / "work"
    running = (
        Terminal(command, folder, environment)
        if in_terminal or work.needs_terminal
        else Running(command, folder, environment, home.streams)
    )
    began_s = time.monotonic()
    was_struck = False
    try:
        is_done = work.use(running, limit_s if cut is None else cut.after_s)
        if cut is not None and is_done:
            # Who leaves may be cut off, too.
            work.leave(running, max(0.0, cut.after_s - (time.monotonic() - began_s)))
        if cut is not None and running.process.poll() is None:
            was_struck = cut.strike(running, home)
        elif not is_done and not work.needs_terminal:
            return Ended(-9, limit_s, False, (), (), (f"did not end in {limit_s:.0f} s",), "")
        if cut is not None and was_struck and cut.ends_it:
            code = running.wait(_LEAVE_S)
        else:
            if cut is not None and not is_done:
                work.use(running, limit_s)
            code = work.leave(running, _LEAVE_S)
        stayed = [f"did not end in {_LEAVE_S:.0f} s: {running.last_line()}"] if code is None else []
        running.close()
        said = tuple(running.complaints(quiet=quiet)) if code is not None else ()
        duration_s = time.monotonic() - began_s
        stayed += (f"outlived by {one}" for one in end_all(home.token, 0.0 if code is None else grace_s))
        stayed += work.troubles(running)
        return Ended(
            running.process.returncode,
            duration_s,
            was_struck,
            tuple(work.missed(running)),
            said,
            tuple(stayed),
            running.errors(),
        )
    finally:
        running.close()
        end_all(home.token, 0.0)
