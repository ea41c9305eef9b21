"""What `edgespec prune` prints of a pruning, planned or done."""

from dataclasses import asdict
from typing import TYPE_CHECKING, TypedDict

from edgespec.cli.output import ModelDocument, model_document, print_json, print_lines

if TYPE_CHECKING:
    from edgespec.catalog.model_file import ModelFile
    from quant.prune.outcome import PrunedModel, PruneOutcome
    from quant.prune.plan import PrunePlan

_SCHEMA = "edgespec.prune/1"


class PruneDocument(TypedDict):
    """The JSON document; None stands for what only a pruning that was done can say."""

    schema: str
    model: ModelDocument
    output: str | None
    architecture: str
    n_blocks: int
    removed_blocks: list[int] | None
    widths: list[list[int]] | None
    n_params_before: int
    n_params: int
    size_bytes: int
    bpw: float
    predicted_speedup: float
    held_out: dict[str, object] | None
    repaired: bool | None
    calibration_tokens: int | None


def show_plan(file: "ModelFile", plan: "PrunePlan", as_json: bool) -> None:
    """Prints what would come of a plan."""
    from quant.prune.outcome import describe_plan, planned_model

    if as_json:
        print_json(_document(file, planned_model(plan), None))
    else:
        print_lines([("model", file.name), *describe_plan(plan)])


def show_outcome(file: "ModelFile", outcome: "PruneOutcome", as_json: bool) -> None:
    """Prints what was done."""
    from quant.prune.outcome import describe_outcome

    if as_json:
        print_json(_document(file, outcome.model, outcome))
    else:
        print_lines([("model", file.name), *describe_outcome(outcome)])


def _document(file: "ModelFile", model: "PrunedModel", outcome: "PruneOutcome | None") -> PruneDocument:
    return {
        "schema": _SCHEMA,
        "model": model_document(file),
        "output": str(outcome.destination) if outcome else None,
        "architecture": model.gguf.architecture,
        "n_blocks": model.n_blocks,
        "removed_blocks": list(outcome.removed_blocks) if outcome else None,
        "widths": [list(pair) for pair in outcome.widths] if outcome else None,
        "n_params_before": model.dense.parameter_count,
        "n_params": model.gguf.parameter_count,
        "size_bytes": model.size_bytes,
        "bpw": model.bpw,
        "predicted_speedup": model.predicted_speedup,
        "held_out": asdict(outcome.report) if outcome and outcome.report else None,
        "repaired": bool(outcome.report and outcome.report.helped) if outcome else None,
        "calibration_tokens": outcome.n_tokens_read if outcome else None,
    }
