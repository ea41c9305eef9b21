"""Where the time of a model's step goes, by kinds of nodes, as a table.

    python scripts/node_profile.py MODEL.gguf [--rows 1 4] [--depths 0 2048] [--passes 100] [--threads 2] [--steps]

Passes of each number of rows behind a text of each depth, all of them in microseconds for one pass. "Waiting" is what threads wait for
each other; "ggml" is what ggml does by itself in a pass, with waking the threads; "llama.cpp" what a decode takes besides its pass,
as for building the graph; and "edgespec" what the loop that makes an answer takes besides its decodes (one row only).
--steps prints every kind of step instead of groups of them.
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.engines import LlamaTarget
from edgespec.decode.fixed_policy import policy_for
from edgespec.decode.generate import Generator
from edgespec.decode.timed_text import arbitrary_tokens
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.node_profile import NodeProfile, profiled_nodes
from edgespec.llama.sampler import Sampling

WARM_PASSES = 8
GROUPS = {
    "queries, keys, values": ("attn_q", "attn_k", "attn_v"),
    "attention's output": ("attn_output",),
    "gate, up": ("ffn_gate", "ffn_up"),
    "down": ("ffn_down",),
    "output matrix": ("output.weight", "token_embd.weight"),
    "attention": ("FLASH_ATTN_EXT",),
    "rotary embeddings": ("ROPE",),
    "into the cache": ("SET_ROWS",),
    "norms": ("RMS_NORM",),
}
"""Groups of the table, and what the name of a kind has in it; the first that fits."""
ELEMENTWISE = "other nodes"
WAITING = "waiting"


class TimedContext(Context):
    """Adds up what its decodes take."""

    decode_s = 0.0

    def _compute(self, rows: int) -> int:
        began = perf_counter()
        code = super()._compute(rows)
        self.decode_s += perf_counter() - began
        return code


def main() -> int:
    """Measures and prints. Returns 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--depths", type=int, nargs="+", default=[0, 2048])
    parser.add_argument("--passes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--steps", action="store_true")
    arguments = parser.parse_args()
    n_ctx = max(arguments.depths) + max(arguments.rows) + arguments.passes + WARM_PASSES + 64
    settings = ContextSettings(n_ctx, arguments.threads, max(arguments.rows))
    columns: dict[str, dict[str, float]] = {}
    with Model(arguments.model) as model, TimedContext(model, settings) as context:
        for rows in arguments.rows:
            for depth in arguments.depths:
                name = f"{rows} {'row' if rows == 1 else 'rows'} at {depth}"
                columns[name] = measure(context, rows, depth, arguments.passes, by_steps=arguments.steps)
    print_table(columns)
    return 0


def measure(context: TimedContext, rows: int, depth: int, passes: int, *, by_steps: bool) -> dict[str, float]:
    """Microseconds of a pass by group."""
    text = arbitrary_tokens(context.model, depth + 1)
    context.clear()
    if depth:
        context.prefill(text[:depth])
    if rows == 1:
        profile, decode_s, whole_s = answer(context, text, passes)
    else:
        profile, decode_s, whole_s = repeat(context, text[-1:] * rows, passes)
    groups = sums_of(profile, by_steps=by_steps)
    groups["ggml"] = profile.graph_s - sum(groups.values())
    groups["llama.cpp"] = decode_s - profile.graph_s
    if rows == 1:
        groups["edgespec"] = whole_s - decode_s
    groups["whole"] = whole_s
    return {name: seconds / profile.n_graphs * 1e6 for name, seconds in groups.items()}


def answer(context: TimedContext, text: list[int], passes: int) -> tuple[NodeProfile, float, float]:
    """An answer, token by token; the profile, and seconds of the decodes and of all."""
    costs = PairCosts(CostCurve({1: 1.0}))
    generator = Generator(LlamaTarget(context, Sampling()), [], policy_for(costs, None))
    tokens = generator.generate(text, passes + WARM_PASSES, ignore_end=True)
    for _ in range(WARM_PASSES):
        next(tokens)
    context.decode_s, began = 0.0, perf_counter()
    with profiled_nodes() as profile:
        for _ in range(passes - 1):
            next(tokens)
        whole_s = perf_counter() - began
    tokens.close()
    return profile, context.decode_s, whole_s


def repeat(context: TimedContext, tokens: list[int], passes: int) -> tuple[NodeProfile, float, float]:
    """The same rows again and again, each time at the same place; the same figures."""
    depth = len(context.tokens)

    def decode() -> None:
        context.decode(tokens, outputs=len(tokens))
        context.rollback(depth)

    for _ in range(WARM_PASSES):
        decode()
    context.decode_s, began = 0.0, perf_counter()
    with profiled_nodes() as profile:
        for _ in range(passes):
            decode()
        whole_s = perf_counter() - began
    return profile, context.decode_s, whole_s


def sums_of(profile: NodeProfile, *, by_steps: bool) -> dict[str, float]:
    """Seconds by group, and of waiting."""
    names = sorted(profile.kinds) if by_steps else [*GROUPS, ELEMENTWISE]
    sums = dict.fromkeys([*names, WAITING], 0.0)
    for kind, time in profile.kinds.items():
        sums[kind if by_steps else group_of(kind)] += time.computing_s
        sums[WAITING] += time.waiting_s
    return sums


def group_of(kind: str) -> str:
    """The group that a kind of step belongs to."""
    return next(
        (group for group, marks in GROUPS.items() if any(mark in kind for mark in marks)), ELEMENTWISE
    )


def print_table(columns: dict[str, dict[str, float]]) -> None:
    """One line for each group, in Markdown."""
    print(f"| | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    names = dict.fromkeys(name for column in columns.values() for name in column)
    for name in [*(name for name in names if name != "whole"), "whole"]:
        cells = [f"{column[name]:.0f}" if name in column else "" for column in columns.values()]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
