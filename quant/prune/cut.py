"""What leaves, by every method, and the repair of what stays.

The dense model is scored on a copy in half precision, which llama.cpp reads in batches up to three times as fast as
the small types; the cut itself starts from the file.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.errors import UsageError
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.llama.quantizer import requantize_file
from quant.gguf.plan import GgufPlan, copy_of, write_gguf
from quant.measure.ablation import score_blocks
from quant.measure.activations import Moments, input_moments
from quant.progress import StageProgress, stage_of
from quant.prune import depth
from quant.prune.amount import WidthAmount, block_parameters
from quant.prune.block_importance import lowest, magnitudes, taylor
from quant.prune.blocks import Cut, cut_blocks
from quant.prune.choices import Criterion, Importance, Method, Protection, Structure
from quant.prune.flap import biases, watched_weights, wifv_scores
from quant.prune.fold import FOLD_ARCHITECTURES
from quant.prune.llm_pruner import GRADIENT_WINDOWS, importance_scores, per_weight
from quant.prune.repair import RepairReport, repair
from quant.prune.settings import PruneSettings
from quant.prune.width import BlockWidth, ModelShape, cut_widths, read_shape
from quant.prune.width_choice import Scores, choose_widths, whole_blocks, without_attention
from quant.text.calibration import Calibration, calibration_windows, split
from quant.text.windows import short_windows

_WIDE_TYPES: Final = ("F32", "F16", "BF16")
_FOLD_WINDOWS: Final = 8
"""Of the fit text, for the folds of the search: the 4,096 tokens that a fold needs."""
_SCORE_WINDOWS: Final = 4
"""Of the fit text, for the published criteria: 2,048 tokens, where they took 1,280."""
_ATTENTION_WINDOWS: Final = 2
"""Of the fit text: one evaluation of the model for every block and window."""
_TAYLOR_WINDOWS: Final = (10, 128)
"""Windows and their tokens in the published script."""


def cut_and_repair(
    meta: GgufMetadata, settings: PruneSettings, folder: Path, progress: StageProgress | None
) -> tuple[Cut, RepairReport | None]:
    """The smaller model, refitted where that is wanted and helps; the report is None without a repair.

    Args:
        meta: Of the dense model.
        settings: What to do.
        folder: Takes copies and refitted tensors until the plan is written; its owner removes it.
        progress: Told about every stage.

    Raises:
        UsageError: an amount, an architecture or a text that does not do.
        NotEnoughMemoryError: no room for the model or a context.
    """
    calibration = _calibration(meta, settings, progress)
    choose = cut_depth if settings.method is Method.DEPTH else cut_width
    cut = choose(meta, settings, calibration, folder, progress)
    if not settings.repairs_here(cut.plan.architecture):
        return cut, None
    stage = stage_of(progress, "repairing blocks")
    plan, report = repair(copy_of(meta), cut.plan, cut.kept_blocks, calibration, folder, progress=stage)
    return replace(cut, plan=plan), report


def planned_widths(meta: GgufMetadata, shallow: GgufPlan, settings: PruneSettings) -> GgufPlan:
    """A cut of this size whose units count the same in every block.

    Args:
        meta: Of the dense model.
        shallow: What is narrowed: the dense model, or with Method.DEPTH what its blocks leave.
        settings: How much.

    Raises:
        UsageError: an amount or an architecture that does not do.
    """
    shape = read_shape(shallow)
    neurons = np.tile(np.arange(shape.n_ff, dtype=np.float64), (shape.n_blocks, 1))
    alike = Scores(np.ones((shape.n_blocks, shape.n_head_kv)), neurons)
    if settings.method is not Method.DEPTH:
        return cut_widths(shallow, choose_widths(shape, alike, settings.width_amount(meta), "uniform"))
    kept = whole_blocks(shape)
    if settings.narrow is not None:
        kept = choose_widths(shape, alike, _narrow_amount(meta, shallow, settings.narrow), "adaptive")
    n_silent = settings.n_attention or 0
    if n_silent >= shape.n_blocks:
        raise UsageError(
            f"`drop_attention` {n_silent} is more than the {shape.n_blocks} blocks that are left can lose",
            "the first one keeps its attention",
        )
    return cut_widths(shallow, without_attention(kept, range(shape.n_blocks - n_silent, shape.n_blocks)))


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
    cut = cut_blocks(copy_of(meta), _chosen_blocks(meta, settings, calibration, folder, progress))
    if not settings.cuts_inside_blocks:
        return cut
    shallow = folder / "shallow.gguf"
    write_gguf(cut.plan, shallow)
    copy = _working_copy(read_metadata(shallow), folder, progress)
    plan, widths = _cut_inside(meta, cut.plan, copy, settings, calibration, progress)
    return replace(cut, plan=plan, widths=widths)


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


def _calibration(meta: GgufMetadata, settings: PruneSettings, progress: StageProgress | None) -> Calibration:
    """The text, empty where nothing reads it."""
    if not settings.reads_text(meta.architecture):
        nothing = np.zeros((0, 0), np.int32)
        return Calibration(nothing, nothing)
    with Model(meta.path, Placement()) as model:
        windows = calibration_windows(
            model, meta.path, settings.calibration, settings.n_tokens, progress=progress
        )
    n_texts = len(settings.calibration)
    return Calibration(*split(windows, n_texts), n_texts)


def _narrow_amount(meta: GgufMetadata, shallow: GgufPlan, share: float) -> WidthAmount:
    """Of the kept blocks' weights, what is that share of all blocks' weights; neurons only.

    Raises:
        UsageError: they have not so many.
    """
    shape = read_shape(shallow)
    ratio = share * block_parameters(meta) / shape.n_blocks / shape.block_parameters
    if ratio >= 1:
        raise UsageError(f"`narrow` {share:g} is more than the blocks that are left have", "use less")
    return WidthAmount(ratio, n_groups=0)


def _cut_inside(
    meta: GgufMetadata,
    shallow: GgufPlan,
    copy: Path,
    settings: PruneSettings,
    calibration: Calibration,
    progress: StageProgress | None,
) -> tuple[GgufPlan, tuple[tuple[int, int], ...]]:
    """Attention and neurons leave the kept blocks; what they added on average stays as a bias."""
    shape = read_shape(shallow)
    with Model(copy, Placement()) as model:
        silent = _least_attention(model, settings.n_attention or 0, calibration, progress)
        moments = _read_moments(model, shape, calibration, progress)
    kept = whole_blocks(shape)
    if settings.narrow is not None:
        amount = _narrow_amount(meta, shallow, settings.narrow)
        kept = choose_widths(shape, wifv_scores(shallow, shape, moments), amount, "adaptive")
    kept = without_attention(kept, silent)
    return cut_widths(shallow, kept, biases(shallow, shape, kept, moments)), _sizes(kept)


def _read_moments(
    model: Model, shape: ModelShape, calibration: Calibration, progress: StageProgress | None
) -> dict[str, Moments]:
    stage = stage_of(progress, "reading the calibration text")
    return input_moments(model, calibration.fit, watched_weights(shape), progress=stage)


def _least_attention(
    model: Model, n_removed: int, calibration: Calibration, progress: StageProgress | None
) -> tuple[int, ...]:
    """The blocks whose attention the model misses least, by KL divergence, each on its own."""
    if not n_removed:
        return ()
    scores = score_blocks(
        model,
        calibration.fit[:_ATTENTION_WINDOWS],
        measure="kl",
        part="attention",
        progress=stage_of(progress, "scoring attention"),
    )
    return lowest(scores, n_removed, range(1, model.n_layer))


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
        moments = _read_moments(model, shape, calibration, progress)
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
    scores = importance_scores(
        dense,
        shape,
        short_windows(calibration.fit, *GRADIENT_WINDOWS),
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
    if settings.blocks or settings.amount.n_blocks == 0:
        return settings.blocks
    protection, n_removed = settings.block_protection(meta), settings.amount.blocks_of(meta)
    allowed = protection.allowed(meta.block_count or 0)
    if settings.block_criterion is Criterion.MAGNITUDE:
        return lowest(magnitudes(copy_of(meta)), n_removed, allowed)
    if settings.block_criterion is Criterion.TAYLOR:
        stage = stage_of(progress, "computing gradients")
        text = short_windows(calibration.fit, *_TAYLOR_WINDOWS)
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
