"""Prunes a model: how much, which blocks, the repair, the file.

The dense model is scored on a copy in half precision, which llama.cpp reads in batches up to three times as fast as
the small types; the cut and the repair start from the file itself.
"""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgespec.catalog.metadata import GgufMetadata
from edgespec.errors import UsageError
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.llama.quantizer import requantize_file
from edgespec.paths import derived_models_dir
from quant import depth
from quant.block_importance import lowest, magnitudes
from quant.blocks import remove_blocks
from quant.calibration import DEFAULT_TOKENS, StageProgress, calibration_windows, split
from quant.container import GgufPlan, copy_of, write_gguf
from quant.depth import Criterion, Protection
from quant.evaluate import ChunkProgress
from quant.recipe import stamp
from quant.repair import Calibration, RepairReport, repair
from quant.stream import STREAM_ARCHITECTURES

_WIDE_TYPES = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Amount:
    """How much to remove; one of the three."""

    ratio: float | None = None
    """Of the weights in the blocks, 0 to 1."""
    n_params: float | None = None
    """Weights that the whole model shall have."""
    n_blocks: int | None = None

    def blocks_of(self, meta: GgufMetadata) -> int:
        """The number of blocks to remove, rounded to the nearest.

        Raises:
            UsageError: that is no block, or all of them.
        """
        total, in_blocks = meta.parameter_count, block_parameters(meta)
        n_blocks = meta.block_count or 0
        if self.n_blocks is not None:
            wanted, said = float(self.n_blocks), f"{self.n_blocks} blocks"
        elif self.n_params is not None:
            wanted = (total - self.n_params) / max(1, in_blocks) * n_blocks
            said = f"{human_count(self.n_params)} parameters"
        else:
            ratio = self.ratio or 0.0
            wanted, said = ratio * n_blocks, f"a ratio of {ratio:g}"
        count = math.floor(wanted + 0.5)
        if 1 <= count < n_blocks:
            return count
        smallest = total - in_blocks + in_blocks // max(1, n_blocks)
        raise UsageError(
            f"{said} would remove {max(count, 0)} of {n_blocks} blocks",
            f"remove 1 to {n_blocks - 1} blocks, which leaves {human_count(smallest)} parameters at the least",
        )


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """What the user asks for."""

    amount: Amount
    criterion: Criterion = Criterion.WINDOW
    repairs: bool = True
    protect_first: int | None = None
    protect_last: int | None = None
    calibration_file: Path | None = None
    """None: the model's own answers to the built-in prompts."""
    n_tokens: int = DEFAULT_TOKENS


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What was done."""

    removed: tuple[int, ...]
    plan: GgufPlan
    report: RepairReport | None
    """None without a repair."""


def block_parameters(meta: GgufMetadata) -> int:
    """Weights inside the blocks, without embeddings and output."""
    return sum(tensor.n_elements for tensor in meta.tensors if tensor.name.startswith("blk."))


def human_count(count: float) -> str:
    """Such as `4.92B` or `134.5M`."""
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"


def planned_size(meta: GgufMetadata, n_removed: int) -> GgufPlan:
    """The plan of a cut by so many blocks, for its counts: which ones they are is chosen later."""
    return remove_blocks(copy_of(meta), range(1, 1 + n_removed))


def protection_of(meta: GgufMetadata, settings: PruneSettings) -> Protection:
    """The blocks that stay, checked against the amount.

    Raises:
        UsageError: too few blocks may go.
    """
    protection = depth.protection_for(settings.criterion, settings.protect_first, settings.protect_last)
    depth.check_protection(protection, meta.block_count or 0, settings.amount.blocks_of(meta))
    return protection


def prune(
    meta: GgufMetadata,
    settings: PruneSettings,
    destination: Path,
    *,
    force: bool = False,
    progress: StageProgress | None = None,
) -> PruneResult:
    """Removes blocks, repairs what is left, and writes the model.

    Args:
        meta: Of the dense model.
        settings: What to do.
        destination: The new file; it appears only when it is whole.
        force: Replace an existing file.
        progress: Told about every stage.

    Raises:
        UsageError: an amount, an architecture, a text or a destination that does not do.
        DiskSpaceError: no room for the file.
        NotEnoughMemoryError: no room for the model or a context.
        ModelFileError: llama.cpp does not load the source or the result.
    """
    protection = protection_of(meta, settings)
    n_removed = settings.amount.blocks_of(meta)
    dense = copy_of(meta)
    remove_blocks(dense, range(n_removed))  # refuses what cannot be cut before anything long begins
    derived_models_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prune-", dir=derived_models_dir()) as scratch:
        folder = Path(scratch)
        repairs = settings.repairs and dense.architecture in STREAM_ARCHITECTURES
        calibration, removed = _choose(meta, settings, protection, n_removed, folder, repairs, progress)
        plan, report = remove_blocks(dense, removed), None
        if repairs and calibration is not None:
            kept = [block for block in range(meta.block_count or 0) if block not in removed]
            stage = _stage(progress, "repairing blocks")
            plan, report = repair(dense, plan, kept, calibration, folder, progress=stage)
        plan = stamp(plan, _step(settings, removed, report))
        write_gguf(plan, destination, force=force, progress=_stage(progress, "writing"))
    return PruneResult(removed, plan, report)


def _choose(
    meta: GgufMetadata,
    settings: PruneSettings,
    protection: Protection,
    n_removed: int,
    folder: Path,
    repairs: bool,
    progress: StageProgress | None,
) -> tuple[Calibration | None, tuple[int, ...]]:
    """The calibration text, where something needs it, and the blocks to remove."""
    if settings.criterion is Criterion.MAGNITUDE and not repairs:
        return None, _by_magnitude(meta, n_removed, protection)
    with Model(meta.path, Placement()) as model:
        windows = calibration_windows(
            model, meta.path, settings.calibration_file, settings.n_tokens, progress=progress
        )
    calibration = Calibration(*split(windows))
    if settings.criterion is Criterion.MAGNITUDE:
        return calibration, _by_magnitude(meta, n_removed, protection)
    if progress is not None:
        progress("making a copy in half precision", 0, 1)
    with Model(_working_copy(meta, folder), Placement()) as model:
        fit, held_out = calibration.fit, calibration.held_out
        if settings.criterion is Criterion.WINDOW:
            span = depth.best_window(
                model, fit[:16], held_out, n_removed, protection, repair=repairs, progress=progress
            )
            return calibration, tuple(span.blocks)
        if settings.criterion is Criterion.GREEDY:
            return calibration, depth.greedy(model, fit[:1], n_removed, protection, progress=progress)
        removed = depth.choose_by_activations(
            model, fit[:4], settings.criterion, n_removed, protection, progress=progress
        )
        return calibration, removed


def _by_magnitude(meta: GgufMetadata, n_removed: int, protection: Protection) -> tuple[int, ...]:
    return lowest(magnitudes(copy_of(meta)), n_removed, protection.allowed(meta.block_count or 0))


def _working_copy(meta: GgufMetadata, folder: Path) -> Path:
    if all(tensor.ggml_type in _WIDE_TYPES for tensor in meta.tensors):
        return meta.path
    copy = folder / "working-copy.gguf"
    requantize_file(meta.path, copy, "F16", n_threads=default_threads())
    return copy


def _step(
    settings: PruneSettings, removed: tuple[int, ...], report: RepairReport | None
) -> dict[str, object]:
    text = settings.calibration_file.name if settings.calibration_file else "own answers"
    step: dict[str, object] = {
        "step": "prune",
        "method": "depth",
        "criterion": str(settings.criterion),
        "removed_blocks": list(removed),
        "calibration": text,
        "calibration_tokens": settings.n_tokens,
        "repair": "none",
    }
    if report is not None:
        step["repair"] = "sequential least squares" if report.helped else "none: it did not help"
        step["held_out_nll"] = {
            "dense": round(report.dense_nll, 5),
            "cut": round(report.cut_nll, 5),
            "repaired": round(report.repaired_nll, 5),
        }
    return step


def _stage(progress: StageProgress | None, label: str) -> ChunkProgress | None:
    return None if progress is None else lambda done, total: progress(label, done, total)
