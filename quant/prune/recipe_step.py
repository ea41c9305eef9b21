"""What the recipe of a pruned file says of the run that made it."""

from pathlib import Path

from quant.gguf.recipe import Step
from quant.prune.choices import Method
from quant.prune.plan import PrunePlan
from quant.prune.repair_report import RepairReport
from quant.prune.selection import Pruned
from quant.text.calibration_source import OWN_ANSWERS


def recipe_step(plan: PrunePlan, pruned: Pruned) -> Step:
    """The step: method, what left, the calibration where something read it, and what the repair brought."""
    settings, selection = plan.settings, pruned.selection
    step: Step = {"step": "prune", "method": str(settings.method)}
    if settings.method is Method.DEPTH:
        criterion = "chosen by hand" if settings.blocks else str(settings.block_criterion)
        step |= {"criterion": criterion, "removed_blocks": list(selection.removed_blocks)}
    else:
        step["structure"] = settings.width_structure
    if settings.method is Method.LLM_PRUNER:
        step["importance"] = str(settings.weight_importance)
    if selection.sizes:
        groups, neurons = zip(*selection.sizes, strict=True)
        step |= {"kv_groups": list(groups), "neurons": list(neurons)}
    if plan.reads_text:
        texts = [source if source == OWN_ANSWERS else Path(source).name for source in settings.calibration]
        step |= {"calibration": ", ".join(map(str, texts)), "calibration_tokens": pruned.n_tokens_read}
    return step | (_repair_notes(pruned.report) if pruned.report is not None else {"repair": "none"})


def _repair_notes(report: RepairReport) -> Step:
    return {
        "repair": f"none: {report.objection}" if report.objection else "sequential least squares",
        "held_out_nll": {
            "dense": round(report.dense_nll, 5),
            "cut": round(report.cut_nll, 5),
            "repaired": round(report.repaired_nll, 5),
        },
        "held_out_kl": {"cut": round(report.cut_kl, 5), "repaired": round(report.repaired_kl, 5)},
    }
