"""Pruning a model in a process of its own."""

from dataclasses import dataclass
from pathlib import Path

from edgespec.catalog.model_file import open_file
from edgespec.worker.jobs.expected import LOADING, learn, pruning_steps
from edgespec.worker.jobs.paces import TimedProgress
from edgespec.worker.jobs.written import Made
from edgespec.worker.protocol import Link
from quant.prune.outcome import describe_removed, describe_repair
from quant.prune.plan import plan_pruning
from quant.prune.prune import prune
from quant.prune.settings import PruneSettings


@dataclass(frozen=True, slots=True)
class PruneJob:
    """Prunes a model. The result is `Made`."""

    name: str
    """What the model is called."""
    model: Path
    settings: PruneSettings
    destination: Path
    force: bool = False
    """Replace an existing file."""

    def run(self, link: Link) -> Made:
        """Removes, repairs, writes.

        Raises:
            EdgespecError: any error of `plan_pruning` and `prune`.
        """
        file = open_file(self.name, self.model)
        plan = plan_pruning(file.meta, self.settings)
        steps, timed = pruning_steps(plan), TimedProgress(link.progress)
        if plan.reads_text:
            timed.stage(LOADING)
        done = prune(plan, self.destination, force=self.force, progress=timed)
        learn(timed, steps)
        notes = (("removed", describe_removed(done.model, done.removed_blocks)), describe_repair(done))
        return Made(file.path, self.destination, notes)
