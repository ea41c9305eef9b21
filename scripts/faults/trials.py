"""Trials of commands: killed, on a bad disk, under a jumping clock, with little memory. Each says what it found wrong."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from .home import Home
from .layer import Counted, Fault, Kind, Layer
from .process import Ended, run
from .work import MIB, Work

KILLS_A_TRIAL: Final = 5
"""Before one run goes on to its end, over what all of them left."""
_DISK_FAULTS: Final[tuple[Kind, ...]] = ("fail", "dead", "full", "fsync", "short")
_LEAST_MEMORY: Final = 300 * MIB
_MOST_MEMORY: Final = 3000 * MIB
_VARYING: Final = frozenset({"tune", "run"})
"""Works that measure: which files they write depends on the machine's mood."""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A run that nothing happened to."""

    ended: Ended
    counted: Counted
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial found."""

    n_faults: int
    complaints: tuple[str, ...]


class Bench:
    """Runs trials of works in homes of their own.

    Args:
        folder: For homes; emptied after each trial.
        inputs: The folder of what works are given.
        library: The layer.
    """

    def __init__(self, folder: Path, inputs: Path, library: Path) -> None:
        self._folder, self._inputs, self._library = folder, inputs, library
        self._undisturbed: dict[str, Undisturbed] = {}
        self._n_homes = 0

    def undisturbed(self, work: Work) -> Undisturbed:
        """How the work goes on a good day; run once.

        Raises:
            RuntimeError: it does not go at all.
        """
        if work.name not in self._undisturbed:
            with self._home(work) as (home, layer):
                ended = run(work, home, layer.environment(Fault("count")))
                if ended.code:
                    raise RuntimeError(f"{work.name} fails by itself: {ended.err.strip()[-600:]}")
                self._undisturbed[work.name] = Undisturbed(ended, layer.counted(), home.files())
        return self._undisturbed[work.name]

    @contextmanager
    def _home(self, work: Work) -> Iterator[tuple[Home, Layer]]:
        self._n_homes += 1
        home = Home.make(self._folder / f"home-{self._n_homes}", work, self._inputs)
        try:
            yield home, Layer(self._library, home.folder, self._folder / f"page-{self._n_homes}")
        finally:
            home.remove()
            (self._folder / f"page-{self._n_homes}").unlink(missing_ok=True)

    # The kinds of trials; each takes a work and a seed.

    def kills(self, work: Work, seed: int) -> Outcome:
        """SIGKILL at random moments, half of them in the middle of a change to the disk; then a run to the end."""
        whole, chance = self.undisturbed(work), _chance(work, seed)
        complaints: list[str] = []
        with self._home(work) as (home, layer):
            for _ in range(KILLS_A_TRIAL):
                if chance.random() < 0.5:
                    fault = Fault("kill", chance.randint(1, max(1, whole.counted.calls)))
                    ended = run(work, home, layer.environment(fault))
                    what = str(fault)
                else:
                    after_s = chance.uniform(0.0, 1.05 * whole.ended.duration_s)
                    ended = run(work, home, kill_after_s=after_s)
                    what = f"kill after {after_s:.2f} s"
                found = [*ended.left_alive(), *home.damaged(whole.files)]
                # A child that was killed is for its parent to tell.
                found += ended.complaints() if ended.code >= 0 else ()
                complaints += (f"{what}: {one}" for one in dict.fromkeys(found))
            complaints += self._go_on(work, home, whole)
        return Outcome(KILLS_A_TRIAL, tuple(complaints))

    def disk(self, work: Work, seed: int) -> Outcome:
        """A disk that fills, fails, dies, does not flush, or takes half of what it is given; then a good one."""
        whole, chance = self.undisturbed(work), _chance(work, seed)
        kind = _DISK_FAULTS[seed % len(_DISK_FAULTS)]
        most = {"full": whole.counted.n_bytes, "fsync": whole.counted.syncs}.get(kind, whole.counted.calls)
        fault = Fault(kind, chance.randint(1, max(1, most)))
        with self._home(work) as (home, layer):
            ended = run(work, home, layer.environment(fault))
            found = [*ended.complaints(), *home.damaged(whole.files)]
            if kind == "short" and ended.code:
                found.append(f"ended with {ended.code}: {ended.err.strip()[-300:]}")
            if not ended.code:
                found += _missing(work, home, whole)
            complaints = [f"{fault}: {one}" for one in found]
            complaints += (f"{fault}: {one}" for one in self._go_on(work, home, whole))
        return Outcome(1, tuple(complaints))

    def clock(self, work: Work, seed: int) -> Outcome:
        """The time of day jumps by up to years, forward and back: nothing comes of it."""
        whole = self.undisturbed(work)
        with self._home(work) as (home, layer):
            ended = run(work, home, layer.environment(Fault("clock", seed)))
            found = [*ended.complaints(), *home.damaged(whole.files), *self._remains(work, home, whole)]
            if ended.code:
                found.append(f"ended with {ended.code}: {ended.err.strip()[-300:]}")
        return Outcome(1, tuple(found))

    def memory(self, work: Work, seed: int) -> Outcome:
        """An address space that is too small, from where Python starts at all; then one without bounds."""
        whole, chance = self.undisturbed(work), _chance(work, seed)
        limit = chance.randint(_LEAST_MEMORY, _MOST_MEMORY)
        bounded = ("sh", "-c", f'ulimit -v {limit // 1024}; exec "$0" "$@"')
        with self._home(work) as (home, _):
            ended = run(work, home, before=bounded)
            found = [*ended.complaints(), *home.damaged(whole.files)]
            if not ended.code:
                found += _missing(work, home, whole)
            complaints = [f"{limit // MIB} MiB: {one}" for one in found]
            complaints += (f"{limit // MIB} MiB: {one}" for one in self._go_on(work, home, whole))
        return Outcome(1, tuple(complaints))

    def _go_on(self, work: Work, home: Home, whole: Undisturbed) -> list[str]:
        """What is wrong after a run without faults over what others left."""
        forced = replace(work, arguments=(*work.arguments, "--force")) if _makes_file(home, work) else work
        ended = run(forced, home)
        found = [*ended.complaints(), *home.damaged(whole.files)]
        if ended.code:
            found.append(f"ended with {ended.code}: {ended.err.strip()[-300:]}")
        else:
            found += _missing(work, home, whole)
        found += self._remains(work, home, whole)
        return [f"the next run: {one}" for one in found]

    @staticmethod
    def _remains(work: Work, home: Home, whole: Undisturbed) -> Iterator[str]:
        return home.unfinished() if work.name in _VARYING else home.left_over(whole.files)


Trial = Callable[[Work, int], Outcome]


def _chance(work: Work, seed: int) -> random.Random:
    return random.Random(f"{work.name} {seed}")


def _makes_file(home: Home, work: Work) -> bool:
    """Whether its file is there already, so that it has to be told to replace it."""
    return "out.gguf" in work.arguments and (home.folder / "work" / "out.gguf").exists()


def _missing(work: Work, home: Home, whole: Undisturbed) -> Iterator[str]:
    """Files of an undisturbed run that a run which says it is done has not written."""
    if work.name not in _VARYING:
        there = home.files()
        for name in whole.files:
            if name not in there:
                yield f"{name} is not there"
