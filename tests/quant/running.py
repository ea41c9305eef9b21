"""What several tests run and count: llama.cpp's logits, a plan's own residual streams, weights that leave."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgespec.catalog.metadata import read_metadata
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.eval_callback import EvalCallback
from edgespec.llama.model import Model
from edgespec.llama.native_context import Logits
from edgespec.llama.placement import Placement
from quant.gguf.plan import GgufPlan, copy_of
from quant.gguf.writer import write_gguf
from quant.measure.activations import run_windows
from quant.measure.likelihood import nll
from quant.numeric.residual_stream import embed, read_block, read_head, read_settings, run_block
from quant.prune.shape import ModelShape
from quant.prune.width import BlockWidth


def plan_of(path: Path) -> GgufPlan:
    return copy_of(read_metadata(path))


def written(plan: GgufPlan, path: Path) -> Path:
    write_gguf(plan, path, force=True)
    return path


def logits_of(path: Path, windows: NDArray[np.int32], callback: EvalCallback | None = None) -> Logits:
    """llama.cpp's, `[n_windows, n_ctx, n_vocab]`."""
    rows: list[Logits] = []
    with Model(path, Placement()) as model:
        run_windows(model, windows, callback, visit=lambda _window, logits: rows.append(logits.copy()))
    return np.stack(rows)


def removed_parameters(shape: ModelShape, widths: Sequence[BlockWidth]) -> int:
    """Weights that leave when each block keeps only that."""
    kept = sum(
        len(block.kv_groups) * shape.group_parameters + len(block.neurons) * shape.neuron_parameters
        for block in widths
    )
    return shape.n_blocks * shape.block_parameters - kept


def own_text(path: Path, n_windows: int, n_ctx: int) -> NDArray[np.int32]:
    """What a model itself holds for the most likely, `[n_windows, n_ctx]`: any change of the model makes it less likely."""
    windows = np.empty((n_windows, n_ctx), np.int32)
    with Model(path, Placement()) as model, Context(model, ContextSettings(n_ctx, 1)) as context:
        for number, window in enumerate(windows):
            context.clear()
            window[0] = 20 + 7 * number
            for place in range(1, n_ctx):
                context.decode([int(window[place - 1])])
                window[place] = context.logits()[0].argmax()
    return windows


def residuals_after(plan: GgufPlan, windows: NDArray[np.int32]) -> NDArray[np.float32]:
    """Numpy's, after the last block, `[n_windows, n_ctx, n_embd]`."""
    settings, residuals = read_settings(plan), embed(plan, windows)
    for block in range(settings.n_blocks):
        weights = read_block(plan, block)
        residuals = np.stack([run_block(settings, weights, one) for one in residuals])
    return residuals


def next_token_nll(
    plan: GgufPlan, residuals: NDArray[np.float32], tokens: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Mean negative log-likelihood in nats of each window's next tokens, `[n_windows]`, from what `residuals_after` gives."""
    head = read_head(plan)
    scored = zip(residuals, tokens, strict=True)
    return np.array([nll(head.logits(one[:-1]), window[1:]).mean() for one, window in scored])
