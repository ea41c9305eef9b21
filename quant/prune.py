"""Prunes a model: what leaves (quant/cut.py), the repair, the file, and its types."""

import glob
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.paths import derived_models_dir
from quant.calibration import Calibration, calibration_windows, split
from quant.choices import OWN_ANSWERS, Method, Structure
from quant.container import GgufPlan, check_destination, check_room, copy_of, write_gguf
from quant.cut import Cut, cut_depth, cut_width, planned_size, reads_text
from quant.progress import StageProgress, stage_of
from quant.prune_settings import PruneSettings
from quant.quantize import check_settings, plan_types, quantize_model, scratch_prefix
from quant.recipe import stamp
from quant.repair import RepairReport, repair
from quant.stream import STREAM_ARCHITECTURES

__all__ = ["Method", "PruneResult", "PruneSettings", "Structure", "planned_size", "prune"]


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What was done."""

    removed_blocks: tuple[int, ...]
    widths: tuple[tuple[int, int], ...]
    """KV groups and neurons that each block kept; empty where no width was cut."""
    plan: GgufPlan
    """Of the file that was written."""
    report: RepairReport | None
    """None without a repair."""


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
    dense = copy_of(meta)
    repairs = settings.repairs and dense.architecture in STREAM_ARCHITECTURES
    with tempfile.TemporaryDirectory(
        prefix=_scratch_prefix(os.getpid()), dir=derived_models_dir()
    ) as scratch:
        folder = Path(scratch)
        calibration = _calibration(meta, settings, repairs, progress)
        choose = cut_depth if settings.method is Method.DEPTH else cut_width
        cut = choose(meta, settings, calibration, folder, progress)
        plan, report = cut.plan, None
        if repairs:
            stage = stage_of(progress, "repairing blocks")
            plan, report = repair(dense, plan, cut.kept_blocks, calibration, folder, progress=stage)
        plan = stamp(plan, _step(settings, cut, report))
        plan = _write(plan, settings.file_type, destination, folder, force, progress)
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
    if reads_text(settings) or settings.file_type:
        check_room(derived_models_dir() / "the half-precision copy", 2 * meta.parameter_count)


def _calibration(
    meta: GgufMetadata, settings: PruneSettings, repairs: bool, progress: StageProgress | None
) -> Calibration:
    """The text, empty where nothing reads it."""
    if not repairs and not reads_text(settings):
        nothing = np.zeros((0, 0), np.int32)
        return Calibration(nothing, nothing)
    with Model(meta.path, Placement()) as model:
        windows = calibration_windows(
            model, meta.path, settings.calibration, settings.n_tokens, progress=progress
        )
    return Calibration(*split(windows))


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


def _step(settings: PruneSettings, cut: Cut, report: RepairReport | None) -> dict[str, object]:
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
    texts = [source if source == OWN_ANSWERS else Path(source).name for source in settings.calibration]
    step |= {"calibration": ", ".join(map(str, texts)), "calibration_tokens": settings.n_tokens}
    step["repair"] = "none"
    if report is not None:
        step["repair"] = "sequential least squares" if report.helped else "none: it did not help"
        step["held_out_nll"] = {
            "dense": round(report.dense_nll, 5),
            "cut": round(report.cut_nll, 5),
            "repaired": round(report.repaired_nll, 5),
        }
    return step
