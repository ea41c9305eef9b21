"""Predictions as text and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from edgespec.cli.columns import columns
from edgespec.plan.prediction import DraftPrediction, Prediction
from edgespec.plan.speedup import Explanation, explain_speedup
from edgespec.plan.workload import ASSUMED_DEPTH
from edgespec.text import human_bytes, one_line

_SCHEMA: Final = "edgespec.plan/1"
_EXPLAINED_LENGTH: Final = 5
"""A common fixed draft length (llama.cpp's speculative example, Hugging Face's num_assistant_tokens)."""


def plan_lines(predictions: Sequence[Prediction], n_ctx: int, explained: float | None) -> Iterator[str]:
    """Lines for a terminal."""
    for one in predictions:
        yield from _lines(one, n_ctx, explained)
        yield ""
    yield "Assumed:"
    yield f"- steps with {ASSUMED_DEPTH} tokens in the cache; a step reads every weight once, whatever its rows,"
    yield "  and of experts as many as its rows wake if each wakes them by chance"
    yield "- edgespec's own drafting, which ends a draft where it becomes doubtful; K is the best fixed length"
    if any(row.acceptance.source == "assumed" for one in predictions for row in one.drafts):
        yield "- acceptance by size: 0.88 at a ninth of the target's weights (a published run), 0.12 less for each"
        yield "  factor of ten beyond (a guess); --acceptance states your own"
    if any(one.machine != "this" for one in predictions):
        yield "- several devices take turns, as llama.cpp splits by layers: they add memory, not bandwidth"


def _lines(one: Prediction, n_ctx: int, explained: float | None) -> Iterator[str]:
    target = one.target
    here = "" if target.is_here else ", not on disk"
    billions = target.meta.parameter_count / 1e9
    yield one_line(
        f"{target.name} ({target.quantization}, {billions:.3g}B, {human_bytes(target.meta.file_bytes)}{here})"
        f" on {one.machine}"
    )
    yield f"  {one_line(one.machine_description)}"
    yield f"  memory  {_memory_sentence(one, n_ctx)}"
    yield f"  plain {one.tok_per_s:.3g} tok/s" + ("" if one.fits else ", if it fitted")
    if not one.drafts:
        yield "  drafts  none known; name one with --draft"
        return
    heads = ["DRAFT", "ACCEPTANCE", "K", "TOK/S", "SPEED-UP", "PAYS FROM", "DRAFT STEP", "MEMORY"]
    rows = [_cells(row) for row in one.drafts]
    table = columns(heads, rows, right=frozenset({2, 3, 4, 5, 6, 7}))
    yield ""
    yield from (f"  {line}" for line in table.splitlines())
    yield ""
    yield f"  {_verdict(one)}"
    for name in dict.fromkeys(name for row in one.drafts for name in row.reads_again):
        yield f"  {one_line(name)} is recurrent: it reads again what was right in a draft of which something was wrong"
    if explained is not None:
        for row in one.drafts:
            yield from _explained(row, _explanation(row, explained))


def _memory_sentence(one: Prediction, n_ctx: int) -> str:
    need = f"{human_bytes(one.memory_bytes)} of {human_bytes(one.machine_memory_bytes)}"
    best = one.fitting[0] if one.fitting else ""
    if one.fits:
        more = f"; up to {best} would" if best else ""
        return f"{need} with {n_ctx} tokens of context: fits{more}"
    way = f"; {best} would fit" if best else "; no common quantization would fit"
    return f"{need} with {n_ctx} tokens of context: does not fit{way}"


def _cells(row: DraftPrediction) -> list[str]:
    return [
        row.name,
        f"{row.acceptance.rate:.2f} {row.acceptance.source}",
        str(row.length),
        f"{row.tok_per_s:.3g}",
        f"{row.speedup:.2f}x",
        "never" if row.break_even is None else f"{row.break_even:.2f}",
        f"{row.step_share:.3f} of a step",
        human_bytes(row.memory_bytes) + ("" if row.fits else ", too much"),
    ]


def _verdict(one: Prediction) -> str:
    best = one.drafts[0]
    if best.length == 0:
        return "no draft pays: plain decoding is the fastest"
    return f"best: {best.name}, {best.speedup:.2f}x plain"


def _explanation(row: DraftPrediction, speedup: float) -> Explanation:
    return explain_speedup(row.costs, speedup, row.acceptance.rate, _EXPLAINED_LENGTH, row.rollback)


def _explained(row: DraftPrediction, found: Explanation) -> Iterator[str]:
    yield f"  {found.speedup:.2f}x with {row.name} at a fixed K of {found.length} would take"
    if found.acceptance is None:
        yield (
            f"    - no acceptance: at the predicted costs it lies between {found.worst_speedup:.2f}x (nothing"
            f" accepted) and {found.best_speedup:.2f}x (everything)"
        )
    else:
        yield f"    - an acceptance of {found.acceptance:.2f} at the predicted costs, or"
    if found.draft_step_share is None:
        yield "    - no cost of the draft at this acceptance: even a free draft would be slower"
    else:
        times = found.draft_step_share / found.predicted_step_share
        yield (
            f"    - a draft step of {found.draft_step_share:.2f} of a target step at an acceptance of"
            f" {row.acceptance.rate:.2f}, {times:.2g} times what is predicted; with nothing accepted still"
            f" {found.least_step_share:.2f}, {found.least_step_share / found.predicted_step_share:.2g} times"
        )


def plan_document(predictions: Sequence[Prediction], n_ctx: int, explained: float | None) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "schema": _SCHEMA,
        "n_ctx": n_ctx,
        "assumed_depth": ASSUMED_DEPTH,
        "predictions": [_document(one, explained) for one in predictions],
    }


def _document(one: Prediction, explained: float | None) -> dict[str, Any]:
    return {
        "machine": {
            "name": one.machine,
            "description": one.machine_description,
            "memory_bytes": one.machine_memory_bytes,
        },
        "target": {
            "name": one.target.name,
            "quantization": one.target.quantization,
            "n_params": one.target.meta.parameter_count,
            "size_bytes": one.target.meta.file_bytes,
            "on_disk": one.target.is_here,
            "memory_bytes": one.memory_bytes,
            "fits": one.fits,
            "fitting_quantizations": list(one.fitting),
        },
        "tok_per_s": one.tok_per_s,
        "t_v_s": {str(rows): seconds for rows, seconds in one.verify_s.items()},
        "drafts": [_draft_document(row, explained) for row in one.drafts],
    }


def _draft_document(row: DraftPrediction, explained: float | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": row.name,
        "acceptance": row.acceptance.rate,
        "acceptance_source": row.acceptance.source,
        "best_k": row.length,
        "tok_per_s": row.tok_per_s,
        "speedup": row.speedup,
        "break_even_acceptance": row.break_even,
        "t_d_s": row.costs.draft_step_s,
        "memory_bytes": row.memory_bytes,
        "fits": row.fits,
        "reads_again": list(row.reads_again),
    }
    if explained is not None:
        found = _explanation(row, explained)
        document["explained"] = {
            "speedup": found.speedup,
            "k": found.length,
            "acceptance": found.acceptance,
            "worst_speedup": found.worst_speedup,
            "best_speedup": found.best_speedup,
            "draft_step_share": found.draft_step_share,
            "least_draft_step_share": found.least_step_share,
        }
    return document
