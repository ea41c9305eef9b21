"""What leaves, by every method: the plan of the smaller model before its repair.

The dense model is scored on a copy in half precision, which llama.cpp reads in batches up to three times as fast as
the small types; the cut itself starts from the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.errors import UsageError
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.llama.quantizer import requantize_file
from quant import depth
from quant.activations import input_moments
from quant.amount import WidthAmount, block_parameters
from quant.block_importance import lowest, magnitudes, taylor
from quant.blocks import remove_blocks
from quant.calibration import Calibration
from quant.choices import Criterion, Importance, Method, Protection, Structure
from quant.container import GgufPlan, copy_of, write_gguf
from quant.flap import biases, watched_weights, wifv_scores
from quant.fold import FOLD_ARCHITECTURES
from quant.llm_pruner import GRADIENT_WINDOWS, importance_scores, per_weight
from quant.progress import StageProgress, stage_of
from quant.prune_settings import PruneSettings
from quant.width import BlockWidth, ModelShape, cut_widths, read_shape
from quant.width_choice import Scores, choose_widths

_WIDE_TYPES: Final = ("F32", "F16", "BF16")
_FOLD_WINDOWS: Final = 8
"""Of the fit text, for the folds of the search: the 4,096 tokens that a fold needs."""
_SCORE_WINDOWS: Final = 4
"""Of the fit text, for the published criteria: 2,048 tokens, where they took 1,280."""
_TAYLOR_WINDOWS: Final = (10, 128)
"""Windows and their tokens in the published script."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A cut before its repair."""

    plan: GgufPlan
    kept_blocks: tuple[int, ...]
    removed_blocks: tuple[int, ...] = ()
    widths: tuple[tuple[int, int], ...] = ()
    """KV groups and neurons that each block kept; empty where no width was cut."""


def planned_size(meta: GgufMetadata, settings: PruneSettings) -> GgufPlan:
    """The plan of such a cut, for its counts; which blocks or neurons leave is chosen later.

    Raises:
        UsageError: an amount, a choice or an architecture that does not do.
    """
    settings.check()
    dense = copy_of(meta)
    if settings.method is Method.DEPTH:
        settings.block_protection(meta)
        shallow = remove_blocks(dense, settings.blocks or range(1, 1 + settings.amount.blocks_of(meta)))
        if settings.narrow is None:
            return shallow
        return _planned_widths(shallow, _narrow_amount(meta, shallow, settings.narrow), "adaptive")
    return _planned_widths(dense, settings.width_amount(meta), "uniform")


def reads_text(settings: PruneSettings) -> bool:
    """Whether the choice of what leaves needs a calibration text."""
    if settings.method is not Method.DEPTH or settings.narrow is not None:
        return True
    return not settings.blocks and settings.block_criterion is not Criterion.MAGNITUDE


def cut_depth(
    meta: GgufMetadata,
    settings: PruneSettings,
    calibration: Calibration,
    folder: Path,
    progress: StageProgress | None,
) -> Cut:
    """The model without the blocks that count least.

    Args:
        meta: Of the dense model.
        settings: Of Method.DEPTH.
        calibration: What the blocks are scored on.
        folder: Takes the copy in half precision; its owner removes it.
        progress: Told about every stage.

    Raises:
        UsageError: an amount or an architecture that does not do.
        NotEnoughMemoryError: no room for the model or a context.
    """
    removed = _chosen_blocks(meta, settings, calibration, folder, progress)
    kept = tuple(block for block in range(meta.block_count or 0) if block not in removed)
    plan = remove_blocks(copy_of(meta), removed)
    if settings.narrow is None:
        return Cut(plan, kept, removed_blocks=removed)
    amount = _narrow_amount(meta, plan, settings.narrow)
    shallow = folder / "shallow.gguf"
    write_gguf(plan, shallow)
    copy = _working_copy(read_metadata(shallow), folder, progress)
    plan, widths = _flap(plan, copy, calibration, amount, "adaptive", progress)
    return Cut(plan, kept, removed, widths)


def cut_width(
    meta: GgufMetadata,
    settings: PruneSettings,
    calibration: Calibration,
    folder: Path,
    progress: StageProgress | None,
) -> Cut:
    """The model without the heads and neurons that count least; arguments and errors as of `cut_depth`."""
    dense = copy_of(meta)
    amount, structure = settings.width_amount(meta), settings.width_structure
    every = tuple(range(meta.block_count or 0))
    if settings.method is Method.FLAP:
        copy = _working_copy(meta, folder, progress)
        plan, widths = _flap(dense, copy, calibration, amount, structure, progress)
        return Cut(plan, every, widths=widths)
    shape = read_shape(dense)
    scores = _gradient_scores(dense, shape, settings, calibration, progress)
    kept = choose_widths(shape, scores, amount, structure)
    return Cut(cut_widths(dense, kept), every, widths=_sizes(kept))


def _planned_widths(plan: GgufPlan, amount: WidthAmount, structure: Structure) -> GgufPlan:
    """A cut of this size whose units count the same in every block."""
    shape = read_shape(plan)
    neurons = np.tile(np.arange(shape.n_ff, dtype=np.float64), (shape.n_blocks, 1))
    alike = Scores(np.ones((shape.n_blocks, shape.n_head_kv)), neurons)
    return cut_widths(plan, choose_widths(shape, alike, amount, structure))


def _narrow_amount(meta: GgufMetadata, shallow: GgufPlan, share: float) -> WidthAmount:
    """Of the kept blocks' weights, what is that share of all blocks' weights; neurons only.

    Raises:
        UsageError: they have not so many.
    """
    shape = read_shape(shallow)
    ratio = share * block_parameters(meta) / shape.n_blocks / shape.block_parameters
    if ratio >= 1:
        raise UsageError(f"--narrow {share:g} is more than the blocks that are left have", "use less")
    return WidthAmount(ratio, n_groups=0)


def _flap(
    plan: GgufPlan,
    copy: Path,
    calibration: Calibration,
    amount: WidthAmount,
    structure: Structure,
    progress: StageProgress | None,
) -> tuple[GgufPlan, tuple[tuple[int, int], ...]]:
    """The plan cut by FLAP with the statistics of its copy in half precision, and what its blocks keep."""
    shape = read_shape(plan)
    with Model(copy, Placement()) as model:
        stage = stage_of(progress, "reading the calibration text")
        moments = input_moments(model, calibration.fit, watched_weights(shape), progress=stage)
    kept = choose_widths(shape, wifv_scores(plan, shape, moments), amount, structure)
    return cut_widths(plan, kept, biases(plan, shape, kept, moments)), _sizes(kept)


def _sizes(kept: Sequence[BlockWidth]) -> tuple[tuple[int, int], ...]:
    return tuple((len(block.kv_groups), len(block.neurons)) for block in kept)


def _gradient_scores(
    dense: GgufPlan,
    shape: ModelShape,
    settings: PruneSettings,
    calibration: Calibration,
    progress: StageProgress | None,
) -> Scores:
    n_windows, n_ctx = GRADIENT_WINDOWS
    scores = importance_scores(
        dense,
        shape,
        calibration.fit[:n_windows, :n_ctx],
        settings.importance or Importance.ELEMENT,
        progress=stage_of(progress, "computing gradients"),
    )
    return per_weight(shape, scores) if settings.width_structure == "adaptive" else scores


def _chosen_blocks(
    meta: GgufMetadata,
    settings: PruneSettings,
    calibration: Calibration,
    folder: Path,
    progress: StageProgress | None,
) -> tuple[int, ...]:
    if settings.blocks:
        return tuple(sorted(set(settings.blocks)))
    protection, n_removed = settings.block_protection(meta), settings.amount.blocks_of(meta)
    allowed = protection.allowed(meta.block_count or 0)
    if settings.block_criterion is Criterion.MAGNITUDE:
        return lowest(magnitudes(copy_of(meta)), n_removed, allowed)
    if settings.block_criterion is Criterion.TAYLOR:
        n_windows, n_ctx = _TAYLOR_WINDOWS
        stage = stage_of(progress, "computing gradients")
        text = calibration.fit[:n_windows, :n_ctx]
        return lowest(taylor(copy_of(meta), text, progress=stage), n_removed, allowed)
    with Model(_working_copy(meta, folder, progress), Placement()) as model:
        repairs = settings.repairs and meta.architecture in FOLD_ARCHITECTURES
        return _by_trial(model, settings, calibration, n_removed, progress, protection, repairs)


def _by_trial(
    model: Model,
    settings: PruneSettings,
    calibration: Calibration,
    n_removed: int,
    progress: StageProgress | None,
    protection: Protection,
    repairs: bool,
) -> tuple[int, ...]:
    """By criteria that need the running model."""
    fit, criterion = calibration.fit, settings.block_criterion
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
    windows = fit[:_SCORE_WINDOWS]
    return depth.choose_by_activations(model, windows, criterion, n_removed, protection, progress=progress)


def _working_copy(meta: GgufMetadata, folder: Path, progress: StageProgress | None) -> Path:
    if all(tensor.ggml_type in _WIDE_TYPES for tensor in meta.tensors):
        return meta.path
    copy = folder / f"{meta.path.stem}-f16.gguf"
    if progress is not None:
        progress("making a copy in half precision", 0, 1)
    requantize_file(meta.path, copy, "F16", n_threads=default_threads())
    return copy
