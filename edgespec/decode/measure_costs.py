"""Measures what a pair costs here: t_v(n) of the target, t_d and catch-ups of the draft. A few seconds, then cached."""

import math
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

from edgespec.decode.costs import CostCurve, PairCosts, pays_to_pad
from edgespec.decode.timed_text import TimedText
from edgespec.llama.context import Context
from edgespec.llama.slots import Slot
from edgespec.progress import SILENT, Progress

BUDGET_S = 4.0
"""For target and draft together: bounds the wait of a first start; a slow target gets fewer points."""
TIMED_TARGET_ROWS = (1, 4, 2, 3, 8, 16, 6, 12, 5, 7, 10)
"""Rows of the decodes that a target is timed at, in the order of their use."""
TIMED_DRAFT_ROWS = (1, 2, 8, 32)
"""Of a draft: a step, and what it reads to catch up."""
ALWAYS_MEASURED = 2
"""Of each list, the first rows are measured whatever they cost: a plain step, and what a draft would cost."""
LEAST_PASSES = 2
"""Over those: weights that have yet to come from the disk, or another program, make a first decode up to 100 times as slow."""
STEEPEST = 3.0
"""A decode never costs that many times what one of more rows does: on the steepest staircase known two rows take 1.5 times as long
as four."""
_DRAFT_SHARE = 0.25
"""Of the budget; a draft has fewer points, and cheaper ones."""
_MOST_PASSES = 8
"""Over all rows: bounds the measuring of fast models, whose times settle sooner."""
_LAST_PASS_SHARE = 0.85
"""No pass begins with more than that of the budget spent: it would end beyond it."""
_ROW_SHARE = 0.6
"""What a row of a larger batch is expected to cost of a plain step, before it is known; ggml's own kernels take 0.5 to 0.9
(docs/how-it-decides.md)."""


def measure_pair_costs(
    target: Context | Slot,
    draft: Context | Slot | None,
    *,
    budget_s: float = BUDGET_S,
    rows: Sequence[int] = TIMED_TARGET_ROWS,
    clock: Callable[[], float] = perf_counter,
    progress: Progress = SILENT,
) -> PairCosts:
    """The cost model of a pair, from timed decodes of a text. Both contexts are empty afterwards.

    Args:
        target: Keeps logits for a verification; as many rows are timed.
        draft: Of the draft, if there is one.
        budget_s: Seconds for both, of which a quarter goes to the draft. It is exceeded only by what is always measured.
        rows: Of the target's decodes, in the order of their use; those that it keeps no logits for are left out.
        clock: Seconds; another one in tests.
        progress: Advanced by the seconds that the decodes took.

    Raises:
        EngineError: llama.cpp failed.
    """
    share = _DRAFT_SHARE if draft else 0.0
    some = [count for count in rows if count <= target.settings.n_outputs_max]
    times = time_decodes(
        target, some, budget_s * (1 - share), all_outputs=True, clock=clock, progress=progress
    )
    verify, pads = single_as_run(times, target)
    costs = PairCosts(verify, target_pads=pads)
    if draft:
        times = time_decodes(
            draft, TIMED_DRAFT_ROWS, budget_s * share, all_outputs=False, clock=clock, progress=progress
        )
        costs.draft, costs.draft_pads = single_as_run(times, draft)
    return costs


def single_as_run(times: dict[int, float], context: Context | Slot) -> tuple[CostCurve, bool]:
    """The curve with a single row at the cost of the batch that it will be run as, and whether that is one of two.

    Args:
        times: Seconds of a decode by its rows, 1 row among them.
        context: Where they were taken.
    """
    pads = context.abilities.pads and pays_to_pad(times)
    return CostCurve(times | {1: times[2]} if pads else times), pads


def time_decodes(
    context: Context | Slot,
    rows_in_order: Sequence[int],
    budget_s: float,
    *,
    all_outputs: bool,
    clock: Callable[[], float] = perf_counter,
    progress: Progress = SILENT,
) -> dict[int, float]:
    """Seconds of a decode by its rows; passes over all rows in turn, so that drift hits them alike.

    Every decode reads on in a text: rows of a model with experts cost what those experts are large that they wake, one
    token wakes the same ones again and again, and neighbours in a text share more of them than arbitrary tokens do.
    Whatever else the machine does makes a decode slower and never faster: the least of its times counts, and one that is
    far above that of more rows is none.

    Args:
        context: Empty afterwards.
        rows_in_order: Numbers of rows, in the order of their use: a slow model is timed at the first ones only.
        budget_s: Seconds for all of them, at most eight passes.
        all_outputs: Whether every row gives logits, or only the last.
        clock: Seconds; another one in tests.
        progress: Advanced by the seconds that the decodes took.

    Returns:
        Seconds by number of rows; `ALWAYS_MEASURED` of them at least.

    Raises:
        EngineError: llama.cpp failed.
    """
    started = clock()
    text = TimedText(context, max(rows_in_order))
    times: dict[int, list[float]] = {}
    context.decode(text.next(1))  # warms caches and builds the first graph
    passes = 0
    while passes < _MOST_PASSES:
        for rows in rows_in_order:
            spent = clock() - started
            typical = min(times[1]) if 1 in times else 0.0
            wanted = passes < LEAST_PASSES and rows in rows_in_order[:ALWAYS_MEASURED]
            if not wanted and spent + typical * rows * _ROW_SHARE > budget_s:
                continue
            tokens = text.next(rows)
            before = clock()
            context.decode(tokens, outputs=rows if all_outputs else 1)
            context.logits(1)
            times.setdefault(rows, []).append(clock() - before)
            progress.advance(times[rows][-1])
        passes += 1
        if passes >= LEAST_PASSES and clock() - started > budget_s * _LAST_PASS_SHARE:
            break
    context.clear()
    return plausible({rows: min(values) for rows, values in times.items()})


def plausible(times: Mapping[int, float]) -> dict[int, float]:
    """Times by rows, none more than `STEEPEST` times that of more rows: with 3, 1: 9, 2: 4, 4: 2 become 1: 2, 2: 4, 4: 2."""
    least, found = math.inf, {}
    for rows in sorted(times, reverse=True):
        found[rows] = times[rows] if times[rows] <= STEEPEST * least else least
        least = min(least, found[rows])
    return dict(sorted(found.items()))
