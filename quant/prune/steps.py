"""The steps from a plan to a smaller model: read the text, choose what leaves, take it out, repair the rest."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from edgespec.progress import Progress
from quant.prune import depth, flap, llm_pruner
from quant.prune.choices import Method
from quant.prune.plan import PrunePlan
from quant.prune.repair import repair
from quant.prune.run import PruneRun, begin_run
from quant.prune.selection import Pruned, Selection, take_out

_CHOOSERS: Final[Mapping[Method, Callable[[PruneRun], Selection]]] = {
    Method.DEPTH: depth.choose,
    Method.FLAP: flap.choose,
    Method.LLM_PRUNER: llm_pruner.choose,
}


def make_smaller(plan: PrunePlan, folder: Path, progress: Progress) -> Pruned:
    """The smaller model, refitted where that is planned and helps.

    Args:
        plan: What to do.
        folder: Takes copies and refitted tensors until the new file is written; its owner removes it.
        progress: Gets a stage for every step.

    Raises:
        UsageError: an architecture or a text that does not do.
        NotEnoughMemoryError: the model or a context does not fit.
        ModelFileError: llama.cpp does not load the model.
    """
    run = begin_run(plan, folder, progress)
    pruned = take_out(run.dense, _CHOOSERS[plan.settings.method](run))
    pruned = replace(pruned, n_tokens_read=run.calibration.fit.size + run.calibration.held_out.size)
    return repair(pruned, run.calibration, folder, progress=progress) if plan.repairs else pruned
