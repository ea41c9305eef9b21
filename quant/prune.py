"""Prunes a model: how much, what leaves, the repair, the file.

The dense model is scored on a copy in half precision, which llama.cpp reads in batches up to three times as fast as
the small types; the cut and the repair start from the file itself.
"""

import math
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from edgespec.catalog.metadata import GgufMetadata
from edgespec.errors import UsageError
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.llama.quantizer import requantize_file
from edgespec.paths import derived_models_dir
from quant import depth
from quant.activations import input_moments
from quant.block_importance import lowest, magnitudes
from quant.blocks import remove_blocks
from quant.calibration import DEFAULT_TOKENS, StageProgress, calibration_windows, split
from quant.container import GgufPlan, copy_of, write_gguf
from quant.depth import Criterion, Protection
from quant.evaluate import ChunkProgress
from quant.flap import Scores, Structure, biases, cut_lowest, watched_weights, wifv_scores
from quant.llm_pruner import GRADIENT_WINDOWS, cut_blocks_alike, importance_scores
from quant.recipe import stamp
from quant.repair import Calibration, RepairReport, repair
from quant.stream import STREAM_ARCHITECTURES, Matrix
from quant.width import cut_widths, read_shape

_WIDE_TYPES = ("F32", "F16", "BF16")
_FOLD_WINDOWS = 16
"""Of the fit text, for the folds of the search: 8,192 tokens."""
_SCORE_WINDOWS = 4
"""Of the fit text, for the published criteria: 2,048 tokens, where they took 1,280."""


class Method(StrEnum):
    """What is removed."""

    DEPTH = "depth"
    """Whole blocks."""
    FLAP = "flap"
    """Heads and neurons that hardly fluctuate (quant/flap.py)."""
    LLM_PRUNER = "llm-pruner"
    """Heads and neurons that change the loss least, to first order (quant/llm_pruner.py)."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much to remove; one of the three."""

    ratio: float | None = None
    """Of the weights in the blocks, 0 to 1."""
    n_params: float | None = None
    """Weights that the whole model shall have."""
    n_blocks: int | None = None

    def ratio_of(self, meta: GgufMetadata) -> float:
        """The share of the blocks' weights to remove.

        Raises:
            UsageError: nothing, or everything.
        """
        if self.n_blocks is not None:
            ratio = self.n_blocks / max(1, meta.block_count or 0)
        elif self.n_params is not None:
            ratio = (meta.parameter_count - self.n_params) / max(1, block_parameters(meta))
        else:
            ratio = self.ratio or 0.0
        if 0 < ratio < 1:
            return ratio
        raise UsageError(
            f"{self._said()} would remove {ratio:.0%} of the weights in the blocks",
            f"the model has {human_count(meta.parameter_count)} parameters, "
            f"{human_count(block_parameters(meta))} of them in its {meta.block_count} blocks",
        )

    def blocks_of(self, meta: GgufMetadata) -> int:
        """The number of blocks to remove, rounded to the nearest.

        Raises:
            UsageError: that is no block, or all of them.
        """
        n_blocks = meta.block_count or 0
        count = self.n_blocks
        if count is None:
            count = math.floor(self.ratio_of(meta) * n_blocks + 0.5)
        if 1 <= count < n_blocks:
            return count
        raise UsageError(
            f"{self._said()} would remove {count} of {n_blocks} blocks", f"remove 1 to {n_blocks - 1} blocks"
        )

    def _said(self) -> str:
        if self.n_blocks is not None:
            return f"{self.n_blocks} blocks"
        if self.n_params is not None:
            return f"{human_count(self.n_params)} parameters"
        return f"a ratio of {self.ratio or 0.0:g}"


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """What the user asks for."""

    amount: Amount
    method: Method = Method.DEPTH
    criterion: Criterion = Criterion.WINDOW
    """Of blocks."""
    structure: Structure = "adaptive"
    """Of widths."""
    repairs: bool = True
    protect_first: int | None = None
    protect_last: int | None = None
    calibration_file: Path | None = None
    """None: the model's own answers to the built-in prompts."""
    n_tokens: int = DEFAULT_TOKENS


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What was done."""

    removed_blocks: tuple[int, ...]
    widths: tuple[tuple[int, int], ...]
    """KV groups and neurons that each block kept; empty where no width was cut."""
    plan: GgufPlan
    report: RepairReport | None
    """None without a repair."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """A cut before its repair."""

    plan: GgufPlan
    kept_blocks: tuple[int, ...]
    removed_blocks: tuple[int, ...] = ()
    widths: tuple[tuple[int, int], ...] = ()


def block_parameters(meta: GgufMetadata) -> int:
    """Weights inside the blocks, without embeddings and output."""
    return sum(tensor.n_elements for tensor in meta.tensors if tensor.name.startswith("blk."))


def human_count(count: float) -> str:
    """Such as `4.92B` or `134.5M`."""
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"


def planned_size(meta: GgufMetadata, settings: PruneSettings) -> GgufPlan:
    """The plan of such a cut, for its counts; which blocks or neurons leave is chosen later.

    Raises:
        UsageError: an amount or an architecture that does not do.
    """
    dense = copy_of(meta)
    if settings.method is Method.DEPTH:
        _protection(meta, settings)
        return remove_blocks(dense, range(1, 1 + settings.amount.blocks_of(meta)))
    shape, ratio = read_shape(dense), settings.amount.ratio_of(meta)
    alike = Scores(np.full((shape.n_blocks, shape.n_head_kv), np.inf), np.zeros((shape.n_blocks, shape.n_ff)))
    if settings.method is Method.LLM_PRUNER:
        return cut_widths(dense, cut_blocks_alike(shape, alike, ratio))
    return cut_widths(dense, cut_lowest(shape, alike, ratio, "uniform"))


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
        UsageError: an amount, an architecture, a text or a destination that does not do.
        DiskSpaceError: no room for the file.
        NotEnoughMemoryError: no room for the model or a context.
        ModelFileError: llama.cpp does not load the source or the result.
    """
    planned_size(meta, settings)  # refuses what cannot be cut before anything long begins
    dense = copy_of(meta)
    repairs = settings.repairs and dense.architecture in STREAM_ARCHITECTURES
    derived_models_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prune-", dir=derived_models_dir()) as scratch:
        folder = Path(scratch)
        calibration = _calibration(meta, settings, repairs, progress)
        if settings.method is Method.DEPTH:
            cut = _cut_depth(meta, settings, calibration, folder, repairs, progress)
        else:
            cut = _cut_widths(meta, settings, calibration, folder, progress)
        plan, report = cut.plan, None
        if repairs:
            stage = _stage(progress, "repairing blocks")
            plan, report = repair(dense, plan, cut.kept_blocks, calibration, folder, progress=stage)
        plan = stamp(plan, _step(settings, cut, report))
        write_gguf(plan, destination, force=force, progress=_stage(progress, "writing"))
    return PruneResult(cut.removed_blocks, cut.widths, plan, report)


def _protection(meta: GgufMetadata, settings: PruneSettings) -> Protection:
    protection = depth.protection_for(settings.criterion, settings.protect_first, settings.protect_last)
    depth.check_protection(protection, meta.block_count or 0, settings.amount.blocks_of(meta))
    return protection


def _calibration(
    meta: GgufMetadata, settings: PruneSettings, repairs: bool, progress: StageProgress | None
) -> Calibration:
    """The text, empty where nothing reads it."""
    if settings.method is Method.DEPTH and settings.criterion is Criterion.MAGNITUDE and not repairs:
        nothing = np.zeros((0, 0), np.int32)
        return Calibration(nothing, nothing)
    with Model(meta.path, Placement()) as model:
        windows = calibration_windows(
            model, meta.path, settings.calibration_file, settings.n_tokens, progress=progress
        )
    return Calibration(*split(windows))


def _cut_depth(
    meta: GgufMetadata,
    settings: PruneSettings,
    calibration: Calibration,
    folder: Path,
    repairs: bool,
    progress: StageProgress | None,
) -> _Cut:
    protection, n_removed = _protection(meta, settings), settings.amount.blocks_of(meta)
    if settings.criterion is Criterion.MAGNITUDE:
        removed = _by_magnitude(meta, n_removed, protection)
    else:
        with Model(_working_copy(meta, folder, progress), Placement()) as model:
            removed = _choose_blocks(
                model, settings.criterion, calibration, n_removed, protection, repairs, progress
            )
    kept = tuple(block for block in range(meta.block_count or 0) if block not in removed)
    return _Cut(remove_blocks(copy_of(meta), removed), kept, removed_blocks=removed)


def _choose_blocks(
    model: Model,
    criterion: Criterion,
    calibration: Calibration,
    n_removed: int,
    protection: Protection,
    repairs: bool,
    progress: StageProgress | None,
) -> tuple[int, ...]:
    fit = calibration.fit
    if criterion is Criterion.WINDOW:
        span = depth.best_window(
            model,
            fit[:_FOLD_WINDOWS],
            calibration.held_out,
            n_removed,
            protection,
            repair=repairs,
            progress=progress,
        )
        return tuple(span.blocks)
    if criterion is Criterion.GREEDY:
        return depth.greedy(model, fit[:1], n_removed, protection, progress=progress)
    return depth.choose_by_activations(
        model, fit[:_SCORE_WINDOWS], criterion, n_removed, protection, progress=progress
    )


def _cut_widths(
    meta: GgufMetadata,
    settings: PruneSettings,
    calibration: Calibration,
    folder: Path,
    progress: StageProgress | None,
) -> _Cut:
    dense = copy_of(meta)
    shape, ratio = read_shape(dense), settings.amount.ratio_of(meta)
    means: dict[str, Matrix] = {}
    if settings.method is Method.LLM_PRUNER:
        n_windows, n_ctx = GRADIENT_WINDOWS
        stage = _stage(progress, "computing gradients")
        scores = importance_scores(dense, shape, calibration.fit[:n_windows, :n_ctx], progress=stage)
        kept = cut_blocks_alike(shape, scores, ratio)
    else:
        with Model(_working_copy(meta, folder, progress), Placement()) as model:
            stage = _stage(progress, "reading the calibration text")
            moments = input_moments(model, calibration.fit, watched_weights(shape), progress=stage)
        kept = cut_lowest(shape, wifv_scores(dense, shape, moments), ratio, settings.structure)
        means = biases(dense, shape, kept, moments)
    return _Cut(
        cut_widths(dense, kept, means),
        tuple(range(shape.n_blocks)),
        widths=tuple((len(block.kv_groups), len(block.neurons)) for block in kept),
    )


def _by_magnitude(meta: GgufMetadata, n_removed: int, protection: Protection) -> tuple[int, ...]:
    return lowest(magnitudes(copy_of(meta)), n_removed, protection.allowed(meta.block_count or 0))


def _working_copy(meta: GgufMetadata, folder: Path, progress: StageProgress | None) -> Path:
    if all(tensor.ggml_type in _WIDE_TYPES for tensor in meta.tensors):
        return meta.path
    copy = folder / "working-copy.gguf"
    if progress is not None:
        progress("making a copy in half precision", 0, 1)
    requantize_file(meta.path, copy, "F16", n_threads=default_threads())
    return copy


def _step(settings: PruneSettings, cut: _Cut, report: RepairReport | None) -> dict[str, object]:
    step: dict[str, object] = {"step": "prune", "method": str(settings.method)}
    if settings.method is Method.DEPTH:
        step |= {"criterion": str(settings.criterion), "removed_blocks": list(cut.removed_blocks)}
    else:
        groups, neurons = zip(*cut.widths, strict=True)
        if settings.method is Method.FLAP:
            step["structure"] = settings.structure
        step |= {"kv_groups": list(groups), "neurons": list(neurons)}
    text = settings.calibration_file.name if settings.calibration_file else "own answers"
    step |= {"calibration": text, "calibration_tokens": settings.n_tokens, "repair": "none"}
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
