"""Damages small GGUF files of every kind and runs edgespec's commands on them: an answer or one line, and nothing else.

    python scripts/fuzz_gguf.py [--minutes 10] [--files N] [--command NAME]... [--seed N] [--workers N] [--keep FOLDER]

Hypothesis changes what the files say: keys, counts, arrays, vocabularies, shapes, types, weights. Each file goes through
one command, the commands taking turns, in a child that is forked from this process with everything loaded, within limits
of time and memory. A fault is whatever is neither success nor one line with a documented exit code: a traceback, a
signal, a time-out, gigabytes for a file of kilobytes. Of every kind one example is kept in a folder outside the
repository, for whoever mends it: such files end other programs, and are not to be passed on.

Returns 1 where there was a fault. Linux only; edgespec has to be installed, with the packages of its tests.
"""

import argparse
import multiprocessing
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # the tests make the small models

from fuzz.commands import in_turn  # noqa: E402
from fuzz.helpers import stand_in  # noqa: E402
from fuzz.seeds import Seed, make_seeds  # noqa: E402
from fuzz.trials import Tally, Trials  # noqa: E402

_TELL_EVERY_S: Final = 30.0


def main() -> int:
    """Tries files until the time is over. Returns the exit code."""
    arguments = _parse()
    with _scratch() as scratch:
        kept = (arguments.keep or Path(tempfile.mkdtemp(prefix="edgespec-fuzz-"))).resolve()
        kept.mkdir(parents=True, exist_ok=True)
        os.environ.update(
            EDGESPEC_HOME=str(scratch / "home"), HF_HOME=str(scratch / "hub"), HOME=str(scratch)
        )
        os.environ.update(HF_HUB_OFFLINE="1", NO_COLOR="1", COLUMNS="100", GGML_NO_BACKTRACE="1")
        print("making sound files of every kind", file=sys.stderr)
        (scratch / "seeds").mkdir()
        seeds = make_seeds(scratch / "seeds")
        _warm_up()
        tally = _run(arguments, scratch, seeds, kept)
    _report(tally, kept)
    return 1 if tally.faults else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="when to stop at the latest")
    parser.add_argument("--files", type=int, default=sys.maxsize, help="after how many files to stop")
    parser.add_argument(
        "--command", action="append", default=[], help="only this one, such as quantize; repeatable"
    )
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(2**31), help="the same one makes the same files"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="files that are tried at a time"
    )
    parser.add_argument("--keep", type=Path, help="where an example of every kind of fault goes")
    return parser.parse_args()


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgespec-fuzzing-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _warm_up() -> None:
    """Imports what the commands import, so that the children need not."""
    from importlib import import_module

    from edgespec.cli import COMMANDS
    from edgespec.llama.library import load_library

    for name in COMMANDS:
        import_module(f"edgespec.cli.{name.replace('-', '_')}")
    for name in (
        "quant.measure.evaluate",
        "quant.prune.prune",
        "quant.prune.steps",
        "quant.convert.quantize",
    ):
        import_module(name)
    for name in (
        "edgespec.session",
        "edgespec.plan.models",
        "tui.models.details",
        "gguf",
        "psutil",
        "jinja2",
    ):
        import_module(name)
    load_library()
    stand_in()


def _run(arguments: argparse.Namespace, scratch: Path, seeds: list[Seed], kept: Path) -> Tally:
    context = multiprocessing.get_context("fork")
    tallies: Any = context.Queue()
    deadline_s = time.monotonic() + 60 * arguments.minutes
    share = -(-arguments.files // arguments.workers)
    workers = []
    for number in range(arguments.workers):
        folder = scratch / f"worker{number}"
        folder.mkdir()
        shutil.copyfile(scratch / "seeds" / "llama" / "model.gguf", folder / "sound.gguf")
        shutil.copyfile(scratch / "calibration.txt", folder / "text.txt")
        trials = Trials(seeds, in_turn(arguments.command), folder, kept, deadline_s)
        first = arguments.seed + 1_000_003 * number
        workers.append(context.Process(target=_work, args=(trials, first, share, tallies)))
        workers[-1].start()
    return _gather(workers, tallies)


def _work(trials: Trials, first: int, most: int, tallies: Any) -> None:
    number, done = first, 0
    os.environ["EDGESPEC_HOME"] = str(trials.folder / "home")
    while done < most and time.monotonic() < trials.deadline_s:
        tally = trials.run_batch(number, most - done)
        tallies.put(tally)
        number, done = number + 1, done + tally.files
        shutil.rmtree(trials.folder / "home", ignore_errors=True)


def _gather(workers: list[Any], tallies: Any) -> Tally:
    total, began_s = Tally(), time.monotonic()
    told_s = began_s
    while True:
        alive = any(worker.is_alive() for worker in workers)
        try:
            total.add(tallies.get(timeout=1))
            continue
        except Empty:
            if not alive:
                break
        if time.monotonic() - told_s > _TELL_EVERY_S:
            told_s = time.monotonic()
            rate = 60 * total.files / (told_s - began_s)
            print(
                f"{total.files} files, {rate:.0f} a minute, {total.faults.total()} faults of {len(total.faults)} kinds",
                file=sys.stderr,
            )
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a worker of the fuzzer failed: what it says stands above")
    return total


def _report(tally: Tally, kept: Path) -> None:
    print(f"{tally.files} files: {tally.succeeded} answered, {tally.refused} refused in one line")
    for name, count in tally.commands.most_common():
        print(f"  {count:6d}  {name}, {tally.seconds[name] / count:.2f} s each")
    print(
        f"{tally.faults.total()} faults of {len(tally.faults)} kinds"
        + (f", examples in {kept}" if tally.faults else "")
    )
    for kind, count in tally.faults.most_common():
        print(f"  {count:5d}  {kind}")
        print(f"         {tally.examples[kind]}")


if __name__ == "__main__":
    sys.exit(main())
