"""Prunes a model: what leaves (quant/prune/cut.py), the repair, the file, and its types."""

import glob
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.paths import derived_models_dir
from quant.convert.quantize import check_settings, plan_types, quantize_model, scratch_prefix
from quant.gguf.plan import GgufPlan, check_destination, check_room, copy_of, write_gguf
from quant.gguf.recipe import stamp
from quant.progress import StageProgress, stage_of
from quant.prune.blocks import Cut, cut_blocks, remove_blocks
from quant.prune.choices import OWN_ANSWERS, Method, Structure
from quant.prune.settings import PruneSettings

if TYPE_CHECKING:
    from quant.prune.repair import RepairReport

__all__ = ["Method", "PruneResult", "PruneSettings", "Structure", "planned_size", "prune"]


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What was done."""

    removed_blocks: tuple[int, ...]
    widths: tuple[tuple[int, int], ...]
    """KV groups and neurons that each block kept; empty where no width was cut."""
    plan: GgufPlan
    """Of the file that was written."""
    report: "RepairReport | None"
    """None without a repair."""


def planned_size(meta: GgufMetadata, settings: PruneSettings) -> GgufPlan:
    """The plan of such a cut, for its counts; which blocks or neurons leave is chosen later.

    Raises:
        UsageError: an amount, a choice or an architecture that does not do.
    """
    settings.check()
    plan = copy_of(meta)
    if settings.method is Method.DEPTH:
        settings.block_protection(meta)
        plan = remove_blocks(plan, settings.blocks or range(1, 1 + settings.amount.blocks_of(meta)))
        if not settings.cuts_inside_blocks:
            return plan
    from quant.prune.cut import planned_widths  # numpy and all methods

    return planned_widths(meta, plan, settings)


def prune(
    meta: GgufMetadata,
    settings: PruneSettings,
    destination: Path,
    *,
    force: bool = False,
    progress: StageProgress | None = None,
) -> PruneResult:
    """Cuts a model, repairs what is left, and writes it.

    Args:
        meta: Of the dense model.
        settings: What to do.
        destination: The new file; it appears only when it is whole.
        force: Replace an existing file.
        progress: Told about every stage.

    Raises:
        UsageError: an amount, a choice, an architecture, a text or a destination that does not do.
        DiskSpaceError: no room for the file, or for the copy that blocks are scored on.
        NotEnoughMemoryError: no room for the model or a context.
        ModelFileError: llama.cpp does not load the source or the result.
    """
    check_prune(meta, settings, destination, force=force)
    _remove_abandoned()
    with tempfile.TemporaryDirectory(
        prefix=_scratch_prefix(os.getpid()), dir=derived_models_dir()
    ) as scratch:
        folder = Path(scratch)
        cut, report = _cut(meta, settings, folder, progress)
        step = _step(settings, cut, report, reads_text=settings.reads_text(meta.architecture))
        plan = _write(stamp(cut.plan, step), settings.file_type, destination, folder, force, progress)
    return PruneResult(cut.removed_blocks, cut.widths, plan, report)


def remove_leftovers(destination: Path, pid: int) -> None:
    """Deletes what a process that was killed while it pruned or quantized left unfinished."""
    destination.with_name(f"{destination.name}.{pid}.part").unlink(missing_ok=True)
    hidden = f"{glob.escape(scratch_prefix(destination, pid))}*"
    for folder in (*derived_models_dir().glob(f"{_scratch_prefix(pid)}*"), *destination.parent.glob(hidden)):
        shutil.rmtree(folder, ignore_errors=True)


def _scratch_prefix(pid: int | str) -> str:
    return f"prune-{pid}-"


def _remove_abandoned() -> None:
    """Deletes the scratch folders of processes that are gone: one that was killed leaves gigabytes behind."""
    folders = list(derived_models_dir().glob(f"{_scratch_prefix('*')}*"))
    if not folders:
        return
    import psutil  # a megabyte and more, for a rare case

    for folder in folders:
        pid = folder.name.split("-")[1]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def check_prune(meta: GgufMetadata, settings: PruneSettings, destination: Path, *, force: bool) -> None:
    """Refuses what cannot be done before anything long begins.

    Raises:
        UsageError: an amount, a choice, an architecture or a destination that does not do.
        DiskSpaceError: no room for the file, or for the copy that blocks are scored on.
    """
    planned = planned_size(meta, settings)
    check_destination(destination, force)
    if settings.file_type is not None:
        check_settings(QuantizeSettings(settings.file_type), has_importance=False)
    else:
        check_room(destination, planned.file_bytes)
    derived_models_dir().mkdir(parents=True, exist_ok=True)
    if settings.choice_reads_text or settings.file_type:
        check_room(derived_models_dir() / "the half-precision copy", 2 * meta.parameter_count)


def _cut(
    meta: GgufMetadata, settings: PruneSettings, folder: Path, progress: StageProgress | None
) -> "tuple[Cut, RepairReport | None]":
    """The smaller model, refitted where that is wanted."""
    by_hand = settings.blocks and not settings.cuts_inside_blocks
    if by_hand and not settings.repairs_here(meta.architecture):
        return cut_blocks(copy_of(meta), settings.blocks), None
    from quant.prune.cut import cut_and_repair

    return cut_and_repair(meta, settings, folder, progress)


def _write(
    plan: GgufPlan,
    file_type: str | None,
    destination: Path,
    folder: Path,
    force: bool,
    progress: StageProgress | None,
) -> GgufPlan:
    """Writes the plan, quantized in a second pass where asked for; gives that of the file."""
    if file_type is None:
        write_gguf(plan, destination, force=force, progress=stage_of(progress, "writing"))
        return plan
    # In one pass llama.cpp would count the blocks of the unpruned model when it spends bits on the last ones.
    pruned = folder / "pruned.gguf"
    write_gguf(plan, pruned, progress=stage_of(progress, "writing"))
    wanted = QuantizeSettings(file_type)
    return copy_of(quantize_model(read_metadata(pruned), wanted, destination, force=force, progress=progress))


def quantized_size(plan: GgufPlan, meta: GgufMetadata, file_type: str) -> int:
    """Bytes of the plan's weights in other types, by what llama.cpp plans for the dense model's.

    Raises:
        UsageError: a type that llama.cpp does not write, or that needs an importance matrix.
    """
    wanted = QuantizeSettings(file_type)
    check_settings(wanted, has_importance=False)
    return round(plan_types(meta, wanted).bpw * plan.parameter_count / 8)


def _step(
    settings: PruneSettings, cut: Cut, report: "RepairReport | None", *, reads_text: bool
) -> dict[str, object]:
    """What the recipe says of this run; a calibration only where something read it."""
    step: dict[str, object] = {"step": "prune", "method": str(settings.method)}
    if settings.method is Method.DEPTH:
        criterion = "chosen by hand" if settings.blocks else str(settings.block_criterion)
        step |= {"criterion": criterion, "removed_blocks": list(cut.removed_blocks)}
    else:
        step["structure"] = settings.width_structure
    if settings.method is Method.LLM_PRUNER:
        step["importance"] = str(settings.importance or "element")
    if cut.widths:
        groups, neurons = zip(*cut.widths, strict=True)
        step |= {"kv_groups": list(groups), "neurons": list(neurons)}
    if reads_text:
        texts = [source if source == OWN_ANSWERS else Path(source).name for source in settings.calibration]
        step |= {"calibration": ", ".join(map(str, texts)), "calibration_tokens": settings.n_tokens}
    step["repair"] = "none"
    if report is not None:
        step["repair"] = f"none: {report.objection}" if report.objection else "sequential least squares"
        step["held_out_nll"] = {
            "dense": round(report.dense_nll, 5),
            "cut": round(report.cut_nll, 5),
            "repaired": round(report.repaired_nll, 5),
        }
        step["held_out_kl"] = {"cut": round(report.cut_kl, 5), "repaired": round(report.repaired_kl, 5)}
    return step
