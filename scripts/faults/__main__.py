"""Runs trials until the time is over, and prints how many there were and what went wrong, each so that it can be repeated.

python -m scripts.faults --minutes 20
python -m scripts.faults --only kill/prune --seed 17 --trials 1
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from .chats import Chats, End
from .layer import compile_layer, is_possible
from .pipes import COMMANDS, streams
from .trials import KILLS_A_TRIAL, Bench, Outcome
from .work import Inputs, Work

_MOMENTS = 100
"""Of each kind that a budget may have at most, unless a number is asked for."""


@dataclass(slots=True)
class Row:
    """One kind of trial, and how it has gone."""

    name: str
    trial: Callable[[int], Outcome]
    faults_a_trial: int = 1
    n_trials: int = 0
    n_faults: int = 0
    n_failed: int = 0


def rows_of(bench: Bench, chats: Chats, works: dict[str, Work], folder: Path, inputs: Path) -> list[Row]:
    """Every kind of trial."""

    def on(trial: Callable[[Work, int], Outcome], name: str) -> Callable[[int], Outcome]:
        return partial(trial, works[name])

    rows = [Row(f"kill/{name}", on(bench.kills, name), KILLS_A_TRIAL) for name in works if name != "run"]
    rows += [Row(f"chat/{end}", partial(chats.trial, end)) for end in get_args(End)]
    rows += [Row(f"disk/{name}", on(bench.disk, name)) for name in works]
    rows += [Row(f"clock/{name}", on(bench.clock, name)) for name in works]
    rows += [Row(f"memory/{name}", on(bench.memory, name)) for name in works]
    return [*rows, Row("streams", partial(streams, folder, inputs))]


def go_round(rows: Sequence[Row], deadline: float, first_seed: int, most: int | None) -> list[str]:
    """One trial of each kind in turn; returns the failures."""
    failures: list[str] = []
    while True:
        left = [
            row
            for row in rows
            if row.n_faults < (most or max(_MOMENTS, 8 * len(COMMANDS) * (row.name == "streams")))
        ]
        if not left:
            return failures
        for row in left:
            if time.monotonic() >= deadline:
                return failures
            seed = first_seed + row.n_trials
            outcome = row.trial(seed)
            row.n_trials += 1
            row.n_faults += outcome.n_faults
            row.n_failed += bool(outcome.complaints)
            for complaint in outcome.complaints:
                failures.append(f"{row.name} seed {seed}: {complaint}")
                print(f"FAILED {failures[-1]}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 when nothing went wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.faults", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, at most")
    parser.add_argument("--only", default="", help="kinds whose names begin so, such as kill/ or disk/prune")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial of each kind")
    parser.add_argument("--trials", type=int, help="faults of each kind, at most")
    options = parser.parse_args(argv)
    if sys.platform != "linux" or not is_possible():
        print("make faults needs Linux and a C compiler", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, signal.default_int_handler)
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="edgespec-faults-") as name:
        folder = Path(name).resolve()
        inputs, library = folder / "inputs", compile_layer(folder)
        with closing(Inputs(inputs)) as given:
            rows = rows_of(
                Bench(folder, inputs, library), Chats(folder, inputs, library), given.works(), folder, inputs
            )
            rows = [row for row in rows if row.name.startswith(options.only)]
            failures = go_round(rows, deadline, options.seed, options.trials)
    _print_table(rows, failures)
    return 1 if failures else 0


def _print_table(rows: Sequence[Row], failures: Sequence[str]) -> None:
    print(f"{'trial':<20} {'trials':>6} {'faults':>6} {'failed':>6}")
    for row in rows:
        print(f"{row.name:<20} {row.n_trials:>6} {row.n_faults:>6} {row.n_failed:>6}")
    print(f"{sum(row.n_faults for row in rows)} faults, {len(failures)} complaints")
    for failure in failures:
        print(f"  {failure}")
    if failures:
        print("repeat one with: python -m scripts.faults --only NAME --seed SEED --trials 1")


if __name__ == "__main__":
    sys.exit(main())
