"""What `edgespec prune` prints of a cut, planned or done."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from quant.prune.outcome import Outcome

_SCHEMA = "edgespec.prune/1"


def show(outcome: "Outcome", as_json: bool) -> None:
    """Prints it."""
    from quant.prune.outcome import describe_cut

    if as_json:
        click.echo(json.dumps(_document(outcome), indent=2, ensure_ascii=True))
        return
    for name, value in describe_cut(outcome):
        click.echo(f"{name + ':':<12} {value}")


def _document(outcome: "Outcome") -> dict[str, Any]:
    file, plan, result = outcome.file, outcome.plan, outcome.result
    return {
        "schema": _SCHEMA,
        "model": {"name": file.name, "path": str(file.path), "size_bytes": file.meta.file_bytes},
        "output": None if outcome.destination is None else str(outcome.destination),
        "architecture": plan.architecture,
        "n_blocks": outcome.n_blocks,
        "removed_blocks": list(result.removed_blocks) if result else None,
        "widths": [list(pair) for pair in result.widths] if result else None,
        "n_params_before": file.meta.parameter_count,
        "n_params": plan.parameter_count,
        "size_bytes": outcome.size_bytes,
        "bpw": outcome.bpw,
        "predicted_speedup": outcome.predicted_speedup,
        "held_out": asdict(result.report) if result and result.report else None,
    }
