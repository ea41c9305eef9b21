"""edgespec serve against llama-server: the same files, prompts and machine, in turns.

    python -m scripts.serve_against_llama_server --binary llama-server --target T.gguf --draft D.gguf --part one

Both servers are loaded at the same time, and one of them is asked at a time. Answers are greedy, and no prompt begins like another one, but
for the turns of a conversation. Ratios have 95 % intervals over prompts (`edgespec/bench/statistics.py`). What llama-server drafts with
beside the defaults is said with `--llama-args "--spec-draft-n-max 8"`.
"""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

from .parts import many_callers, one_caller, ten_turns, two_conversations
from .servers import Contest

_PARTS = ("one", "eight", "turns", "two")


def main() -> None:
    """Prints figures, part after part."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.serve_against_llama_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--binary", type=Path, required=True, help="llama-server")
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--draft", type=Path)
    parser.add_argument("--llama-args", default="", help="more for llama-server, in one string")
    parser.add_argument("--edgespec-args", default="", help="more for edgespec serve, in one string")
    parser.add_argument("--part", action="append", choices=_PARTS, help="one of them [default: all]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ctx-size", type=int, default=4096)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--limit", type=int, default=2, help="prompts of each of the ten kinds")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=96)
    options = parser.parse_args()
    contest = Contest(
        options.binary,
        options.target,
        options.draft,
        options.threads,
        options.ctx_size,
        shlex.split(options.llama_args),
        shlex.split(options.edgespec_args),
    )
    limit, repeat, count = options.limit, options.repeat, options.max_tokens
    parts: dict[str, Callable[[], None]] = {
        "one": lambda: one_caller(contest, limit=limit, repeat=repeat, max_tokens=count),
        "eight": lambda: many_callers(
            contest, n_callers=options.callers, limit=limit, repeat=repeat, max_tokens=count
        ),
        "turns": lambda: ten_turns(contest, max_tokens=count),
        "two": lambda: two_conversations(contest, max_tokens=count),
    }
    for part in options.part or _PARTS:
        print(f"== {part}", flush=True)
        parts[part]()


if __name__ == "__main__":
    main()
