"""A day of a server: thousands of requests from many connections, a third of them broken, given up or hostile.

    python -m scripts.serve_load --requests 10000
    python -m scripts.serve_load --requests 20000 --model smollm2-135m --minutes 120

Starts `edgespec serve` on a tiny model, or on one that is named. First every question is asked alone; later answers have to be the same
text. After each of forty rounds everybody hangs up, and the server's processes are looked at: no answer may be under way any more,
no file handle and no thread may have come to stay, and after a warm-up 1,000 requests may add 1 MiB to a process, and all of them
1 %. The exit code is 1 where something was wrong.

The warm-up has a number of requests of its own, because what it waits for does not hang on how many follow: copies of conversations
fill their memory, every kind of request has met every other one at once, and CPython's table of interned strings, which grows with
those that were made and dropped (every look for models makes some), has its last size.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .callers import questions
from .load import Load, answers_of, load, started, sure_prompts, tiny_pair

_KEPT_TROUBLES: Final = 20
_CACHE_MIB: Final = "1"
"""For conversations that have left the cache: full within the warm-up, where 4 took more than 10,000 requests of a tiny model to fill."""


def report(found: Load, warm_up_n: int) -> bool:
    """Prints what was found; whether all of it is as it should be.

    Args:
        found: What became of all requests.
        warm_up_n: Of them, those that came before growth counts.
    """
    n_wrong = len(found.troubles)
    print(
        f"{found.n_requests} requests in {found.elapsed_s:.0f} s ({found.n_requests / found.elapsed_s:.0f} a second): "
        f"{found.answers.total()} right answers, {found.offences.total()} offences taken as they should be, {n_wrong} wrong"
    )
    for name, count in [*sorted(found.answers.items()), *sorted(found.offences.items())]:
        print(f"  {count:6d}  {name}")
    for trouble in found.troubles[:_KEPT_TROUBLES]:
        print(f"  wrong: {trouble[:400]}")
    is_well = not n_wrong
    for growth in found.growths(warm_up_n):
        print(growth)
        is_well = is_well and growth.is_within
    return is_well


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.serve_load")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--warm-up", type=int, default=14_000, help="requests before those")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=60.0, help="no round begins after that")
    parser.add_argument("--model", help="a model on this machine [default: a tiny one with random weights]")
    parser.add_argument("--draft", default="auto", help="its draft [default: auto]")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="edgespec-load-") as folder:
        model, draft = options.model, options.draft
        if model is None:
            os.environ |= {"EDGESPEC_HOME": folder, "HF_HOME": folder, "HOME": folder}
            model, draft = tiny_pair(Path(folder))
        engine = ("-np", str(options.parallel), "-t", str(options.threads), "--cache-ram", _CACHE_MIB)
        with started(model, draft, *engine) as server:
            sure = sure_prompts(server, options.prompts, options.max_tokens, options.seed)
            right = answers_of(server, questions(sure, options.max_tokens))
            found = load(
                server,
                right,
                options.warm_up + options.requests,
                options.connections,
                seed=options.seed,
                deadline=time.monotonic() + 60 * options.minutes,
            )
    return 0 if report(found, options.warm_up) else 1


if __name__ == "__main__":
    sys.exit(main())
