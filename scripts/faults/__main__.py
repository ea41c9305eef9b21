"""Runs trials until the time is over, and prints how many there were and what went wrong, each so that it can be repeated.

python -m scripts.faults --minutes 20
python -m scripts.faults --only kill/prune --seed 17 --trials 1
"""

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from .commands import Inputs, readers
from .kinds import N_STREAMS, Bench
from .layer import compile_layer, is_possible
from .outcome import Outcome
from .work import Work

KINDS: Final = (
    "kill",
    "child",
    "stop",
    "terminal",
    "full",
    "fail",
    "lie",
    "clock",
    "pipe",
    "memory",
    "limits",
)
"""Methods of `Bench`."""
_NOT_KILLED: Final = ("run",)
"""Writes nothing but what it has learnt."""
_MOST_TRIALS: Final = 100
"""Of each kind and work that a budget may have, unless a number is asked for."""
_MOST_MISSES: Final = 2
"""Begun to one that meets its process: what happens after the end does not count."""


@dataclass(slots=True)
class Row:
    """One kind of trouble for one work, and how it has gone."""

    kind: str
    work: str
    trial: Callable[[int], Outcome]
    most: int
    n_begun: int = 0
    n_trials: int = 0
    n_faults: int = 0
    moments: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        return f"{self.kind}/{self.work}"

    def is_done(self) -> bool:
        """Whether there were as many as there are to be."""
        return self.n_trials >= self.most or self.n_begun >= _MOST_MISSES * self.most


def rows_of(bench: Bench, works: Mapping[str, Work], most: int | None = None) -> list[Row]:
    """Every kind of trouble for every work, and troubles with streams for the commands that only read."""

    def row(kind: str, work: Work) -> Row:
        rest = 3 * N_STREAMS if kind == "pipe" else _MOST_TRIALS
        return Row(kind, work.name, partial(getattr(bench, kind), work), most or rest)

    rows = [
        row(kind, work)
        for kind in KINDS
        for work in works.values()
        if kind != "kill" or work.name not in _NOT_KILLED
    ]
    return [*rows, *(row("pipe", work) for work in readers().values())]


def choose(rows: Sequence[Row], only: str) -> list[Row]:
    """Those that `--only` names: all, kinds, or single ones."""
    named = only.split(",")
    return [row for row in rows if {"", f"{row.kind}/", row.name} & set(named)]


def go_round(rows: Sequence[Row], deadline: float, first_seed: int) -> Iterator[str]:
    """One trial of each kind in turn; yields the faults."""
    while left := [row for row in rows if not row.is_done()]:
        for row in left:
            if time.monotonic() >= deadline:
                return
            seed = first_seed + row.n_begun
            began_s = time.monotonic()
            outcome = row.trial(seed)
            row.seconds += time.monotonic() - began_s
            row.n_begun += 1
            row.n_trials += outcome.n_trials
            row.n_faults += len(outcome.faults)
            row.moments += outcome.moments
            yield from (f"{row.name} seed {seed}: {fault}" for fault in outcome.faults)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 when nothing went wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.faults", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, at most")
    parser.add_argument(
        "--only",
        default="",
        help="a kind such as kill/, or one work of it such as full/prune; several with commas",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first trial of each kind")
    parser.add_argument("--trials", type=int, help="of each kind and work, at most")
    options = parser.parse_args(argv)
    if sys.platform != "linux" or not is_possible():
        print("make faults needs Linux and a C compiler", file=sys.stderr)
        return 2
    # What is ignored here, as after nohup, all works would ignore, too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="edgespec-faults-") as name:
        folder = Path(name).resolve()
        library = compile_layer(folder)
        with closing(Inputs(folder / "inputs")) as given:
            rows = rows_of(Bench(folder, given.folder, library), given.works(), options.trials)
            rows = choose(rows, options.only)
            faults: list[str] = []
            with suppress(KeyboardInterrupt):  # then there is a table of what was done
                for fault in go_round(rows, deadline, options.seed):
                    print(f"FAULT {fault}", flush=True)
                    faults.append(fault)
    print_table(rows)
    print_moments(rows)
    for fault in faults:
        print(f"  {fault}")
    if faults:
        print("repeat one with: python -m scripts.faults --only KIND/WORK --seed SEED --trials 1")
    return 1 if faults else 0


def print_table(rows: Sequence[Row]) -> None:
    """Works by kinds: trials, and faults after a stroke where there were any."""
    kinds = [kind for kind in KINDS if any(row.kind == kind for row in rows)]
    cells = {(row.work, row.kind): row for row in rows}
    works = list(dict.fromkeys(row.work for row in rows))
    print(f"{'trials/faults':<14}" + "".join(f"{kind:>10}" for kind in kinds))
    for work in works:
        shown = (cells.get((work, kind)) for kind in kinds)
        texts = (f"{row.n_trials}/{row.n_faults}" if row else "" for row in shown)
        print(f"{work:<14}" + "".join(f"{text:>10}" for text in texts))
    print(f"{sum(row.n_trials for row in rows)} trials, {sum(row.n_faults for row in rows)} faults")


def print_moments(rows: Sequence[Row]) -> None:
    """Of the kinds that cut a work off: how many met it in each tenth of its way, and how long a trial took."""
    met = [row for row in rows if row.moments]
    if met:
        print(f"{'met alive in each tenth of its way':<34}{'seconds a trial':>56}")
    for row in met:
        tenths = Counter(min(int(10 * moment), 9) for moment in row.moments)
        shown = "".join(f"{tenths[tenth]:>6}" for tenth in range(10))
        print(f"{row.name:<22}{shown}{row.seconds / row.n_begun:>8.1f}")


if __name__ == "__main__":
    sys.exit(main())
