"""Prunes a model: carries a plan out, and writes the file."""

from pathlib import Path

from edgespec.catalog.metadata import read_metadata
from edgespec.files import scratch_folder
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.paths import derived_models_dir
from edgespec.progress import SILENT, Progress
from quant.convert.quantize import quantize_model
from quant.gguf.plan import copy_of
from quant.gguf.recipe import stamp
from quant.gguf.writer import check_destination, check_free_space, write_gguf
from quant.prune.outcome import PrunedModel, PruneOutcome
from quant.prune.plan import PrunePlan
from quant.prune.recipe_step import recipe_step
from quant.prune.selection import Pruned, Selection, take_out


def prune(
    plan: PrunePlan, destination: Path, *, force: bool = False, progress: Progress = SILENT
) -> PruneOutcome:
    """Chooses what leaves, repairs what is left, and writes it.

    Args:
        plan: What to do, and to which model.
        destination: The new file; it appears only when it is whole.
        force: Replace an existing file.
        progress: Gets a stage for every step.

    Raises:
        UsageError: an architecture, a text or a destination that does not do.
        DiskSpaceError: the disk has no room for the file, or for the copy that blocks are scored on.
        NotEnoughMemoryError: the model or a context does not fit.
        ModelFileError: llama.cpp does not load the source or the result.
    """
    check_prune(plan, destination, force=force)
    with scratch_folder(derived_models_dir()) as folder:
        pruned = _make_smaller(plan, folder, progress)
        written = stamp(pruned.gguf, recipe_step(plan, pruned))
        file_type = plan.settings.file_type
        file = destination if file_type is None else folder / "pruned.gguf"
        write_gguf(written, file, force=force, progress=progress)
        if file_type is not None:
            # In one pass llama.cpp would count the blocks of the dense model when it spends bits on the last ones.
            wanted, meta = QuantizeSettings(file_type), read_metadata(file)
            written = copy_of(quantize_model(meta, wanted, destination, force=force, progress=progress))
    model = PrunedModel(plan.dense, written, written.weights_bytes)
    return PruneOutcome(
        model,
        destination,
        pruned.selection.removed_blocks,
        pruned.selection.sizes,
        pruned.report,
        plan.no_repair,
        pruned.n_tokens_read,
    )


def check_prune(plan: PrunePlan, destination: Path, *, force: bool) -> None:
    """Refuses what cannot be written before anything long begins.

    Raises:
        UsageError: a destination that does not do.
        DiskSpaceError: the disk has no room for the file, or for the copy that blocks are scored on.
    """
    check_destination(destination, force)
    file_type = plan.settings.file_type
    if file_type is None:
        check_free_space(destination, plan.gguf.file_bytes)
    derived_models_dir().mkdir(parents=True, exist_ok=True)
    if plan.settings.choice_reads_text or file_type is not None:
        # Two bytes a weight.
        check_free_space(derived_models_dir() / "the half-precision copy", 2 * plan.dense.parameter_count)


def _make_smaller(plan: PrunePlan, folder: Path, progress: Progress) -> Pruned:
    if plan.only_copies:
        return take_out(copy_of(plan.dense), Selection(plan.named_blocks))
    from quant.prune.steps import make_smaller  # numpy and all methods

    return make_smaller(plan, folder, progress)
