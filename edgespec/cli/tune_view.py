"""What a search found, as text and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from edgespec.cli.columns import columns
from edgespec.tune.outcome import SCHEMA, Candidate, TuneOutcome

_HEADS = ["TARGET", "DRAFT", "ACCEPTANCE", "DRAFT STEP", "PREDICTED", "MEASURED", "LOWEST", "OFF BY", "KL"]


def outcome_lines(outcome: TuneOutcome) -> Iterator[str]:
    """The whole table, the verdict, and how to use what was saved."""
    yield f"{outcome.target}: {len(outcome.candidates)} candidates, {outcome.seconds / 60:.1f} of {outcome.budget_s / 60:.0f} minutes"
    yield ""
    rows = [_cells(one) for one in outcome.candidates]
    yield columns(_HEADS, rows, right=frozenset(range(2, len(_HEADS))))
    yield ""
    yield "Speeds are multiples of plain decoding of the published file; LOWEST is the category that gains least."
    if outcome.proof_note:
        yield f"The measured ones were {outcome.proof_note}, one of each kind."
    yield f"{outcome.verdict}."
    if outcome.pair:
        yield f"kept as {outcome.pair}: edgespec run {outcome.pair} -p ..."
    else:
        yield "nothing is kept: auto does as well"


def _cells(one: Candidate) -> list[str]:
    return [
        one.target,
        one.draft + (" (auto)" if one.is_untuned else ""),
        "" if one.acceptance is None else f"{one.acceptance:.2f}",
        "" if one.draft_step_share is None else f"{one.draft_step_share:.2f}",
        f"{one.predicted_speedup:.2f}x",
        "" if one.measured_speedup is None else f"{one.measured_speedup:.2f}x ± {one.measured_sd or 0.0:.2f}",
        "" if one.lowest_category is None else f"{one.lowest_category:.2f}x",
        "" if one.measured_speedup is None else f"{one.predicted_speedup / one.measured_speedup - 1:+.0%}",
        "" if one.kl is None else f"{one.kl:.3f}",
    ]


def outcome_document(outcome: TuneOutcome) -> dict[str, Any]:
    """The same as JSON."""
    return {"schema": SCHEMA, **asdict(outcome)}
