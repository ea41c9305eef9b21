"""Repair without training: each kept block is refitted so that the pruned model's residual stream follows the dense one's.

Two residual streams walk the calibration text in step, the dense model's X and the pruned model's Y. Where Y has drifted, the
block's `attn_output` and `ffn_down` are fitted anew by least squares on the pruned model's own activations H, towards
what the dense residual holds at that place, so that a later block makes good what an earlier one lost:

    own step    D1 = argmin |H D1 - (f_dense(Y) - f_pruned(Y))|^2 + a1 |D1|^2     for columns that were cut
    drift step  D2 = argmin |H D2 - (X' - Y - f_pruned(Y) - H D1)|^2 + a2 |D2|^2  for all that was lost before

Both pull towards the weights that are there, so that much ridge means little change. It widens ReplaceMe's fold
(arXiv 2505.02819), which is linear in the FFN's output, to the FFN's neurons and to every block after the gap; the
targets of the dense model on the inputs of the pruned one are those of SparseGPT-like reconstructions with error
propagation (arXiv 2301.00774). Tokens count by 1 / |X'|^2: norms undo a residual's length, so relative errors matter.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgespec.progress import SILENT, Progress, advance_to
from quant.gguf.plan import GgufPlan
from quant.numeric.residual_stream import (
    BlockSettings,
    BlockWeights,
    Matrix,
    attention_input,
    embed,
    ffn_input,
    has_attention,
    project,
    read_block,
    read_head,
    read_settings,
    run_block,
)
from quant.numeric.ridge import DEFAULT_RIDGES, FitWindow, Ridges, ridge_fit
from quant.prune.held_out import judge_repair
from quant.prune.refit import RefittedWeights, RidgeOffers
from quant.prune.repair_report import RepairReport
from quant.prune.selection import Pruned
from quant.text.calibration import Calibration

_Reader = Callable[[BlockSettings, BlockWeights, Matrix], Matrix]
"""`attention_input` or `ffn_input`: gives what a projection reads of a window."""


def repair(
    pruned: Pruned,
    text: Calibration,
    folder: Path,
    *,
    ridges: Ridges = DEFAULT_RIDGES,
    progress: Progress = SILENT,
) -> Pruned:
    """The pruned model with its blocks refitted, or as it was where that did not help, or harmed one of the texts.

    Of a model of 5 blocks without block 2, the walk runs: block 0 with block 0, block 1 with block 1 and then the dense
    residuals alone through block 2, block 2 (which was 3) with block 3, block 3 with block 4. From the gap on the residuals
    differ, and `ffn_down` of block 1 is the first to be fitted.

    Args:
        pruned: The model before and after it lost something.
        text: What is fitted on, and what judges.
        folder: Takes the refitted tensors until the plan is written; its owner removes it.
        ridges: How strongly both steps may hold on to the weights that are there; every fit takes those that serve the
            held-out text best.
        progress: Gets the stage "repairing blocks", in blocks of the dense model.

    Returns:
        The same with a report, and with another plan where the repair helped.

    Raises:
        UsageError: an architecture that is not computed block by block.
    """
    walk = _Walk(pruned, text, folder, ridges)
    kept = pruned.kept_blocks
    progress.stage("repairing blocks", walk.n_dense_blocks)
    report_place = advance_to(progress)
    walk.run_dense(range(kept[0]))
    for block, (source, target) in enumerate(zip(kept, [*kept[1:], walk.n_dense_blocks], strict=True)):
        walk.step(block, source, target)
        report_place(target)
    report = walk.report()
    return replace(pruned, gguf=walk.repaired if report.helped else pruned.gguf, report=report)


class _Walk:
    """The residuals of both models at the same place, and the plan with all that was refitted so far.

    They are those of all windows, to fit on and held out, `[n_windows, n_ctx, n_embd]`.
    """

    def __init__(self, pruned: Pruned, text: Calibration, folder: Path, ridges: Ridges) -> None:
        self._pruned, self._text, self._folder = pruned, text, folder
        self._dense_settings, self._settings = read_settings(pruned.dense), read_settings(pruned.gguf)
        self._weights, self._offers = RefittedWeights(pruned.gguf, folder), RidgeOffers(ridges)
        self._n_fit = len(text.fit)
        self._x = embed(pruned.dense, np.concatenate([text.fit, text.held_out]))
        self._y = self._x.copy()
        self._unrepaired = self._x[self._n_fit :].copy()
        """The pruned model's residuals without any repair, held-out windows only."""
        self._drifted = False
        """Whether Y differs from X: before anything was lost, nothing is fitted."""

    @property
    def n_dense_blocks(self) -> int:
        """Blocks that X walks through."""
        return self._dense_settings.n_blocks

    @property
    def repaired(self) -> GgufPlan:
        """The plan with all that was refitted so far."""
        return self._weights.gguf

    def run_dense(self, blocks: range) -> None:
        """Moves only the dense residuals on, through blocks that the pruned model lost."""
        for block in blocks:
            weights = read_block(self._pruned.dense, block)
            for window, residual in enumerate(self._x):
                self._x[window] = run_block(self._dense_settings, weights, residual)
        self._drifted = self._drifted or len(blocks) > 0

    def step(self, block: int, source: int, target: int) -> None:
        """Moves all residuals through one kept block.

        Args:
            block: Its number in the pruned model.
            source: Its number in the dense one.
            target: The dense block before whose input the dense residuals stop: that of the next kept one.
        """
        dense, pruned = read_block(self._pruned.dense, source), read_block(self._pruned.gguf, block)
        for window, residual in enumerate(self._unrepaired):
            self._unrepaired[window] = run_block(self._settings, pruned, residual)
        if has_attention(dense):
            self._add_dense(dense, "attn_output", attention_input)
            if has_attention(pruned):
                self._follow(block, "attn_output", attention_input, dense, pruned)
            else:
                self._drifted = True
        self._add_dense(dense, "ffn_down", ffn_input)
        self.run_dense(range(source + 1, target))
        self._follow(block, "ffn_down", ffn_input, dense, pruned)

    def report(self) -> RepairReport:
        """What the repair brought on the held-out windows."""
        head, n_fit = read_head(self._pruned.dense), self._n_fit
        return judge_repair(head, self._text, self._x[n_fit:], self._unrepaired, self._y[n_fit:])

    def _add_dense(self, dense: BlockWeights, name: str, read: _Reader) -> None:
        for window, residual in enumerate(self._x):
            self._x[window] += project(dense, name, read(self._dense_settings, dense, residual))

    def _follow(
        self, block: int, name: str, read: _Reader, dense: BlockWeights, pruned: BlockWeights
    ) -> None:
        """Moves the pruned residuals through a sublayer, its projection fitted anew where the two differ."""
        weight = pruned[f"{name}.weight"]
        was_cut = weight.shape != dense[f"{name}.weight"].shape
        if not (was_cut or self._drifted):
            self._y[:] = self._x
            return
        n_rows, n_columns = weight.shape
        activations = self._activations(read, pruned, n_columns)
        fit = ridge_fit(n_rows, n_columns, self._n_fit * self._y.shape[1])
        for window in range(len(self._y)):
            before, after = self._y[window], self._x[window]
            output = project(pruned, name, activations[window])
            own = None
            if was_cut:
                own = project(dense, name, read(self._dense_settings, dense, before)) - output
            token_weights = 1 / np.mean(after * after, axis=1)
            take = fit.add if window < self._n_fit else fit.judge
            take(FitWindow.weighted(activations[window], own, after - before - output, token_weights))
        change, chosen = fit.solve(self._offers.offer(block, name, n_columns))
        self._offers.remember(name, chosen)
        if change.any():
            full_name = f"blk.{block}.{name}.weight"
            weight = self._weights.exchange(full_name, weight + change, fit.mean_squares)
        for window in range(len(self._y)):
            self._y[window] += project({**pruned, f"{name}.weight": weight}, name, activations[window])
        self._drifted = True

    def _activations(self, read: _Reader, pruned: BlockWeights, n_columns: int) -> Matrix:
        """The sublayer's inputs for every window of the pruned residuals, `[n_windows, n_ctx, n_columns]`.

        On disk: they can outgrow the model.
        """
        shape = (*self._y.shape[:2], n_columns)
        activations = np.memmap(self._folder / "activations", np.float32, "w+", shape=shape)
        for window, residual in enumerate(self._y):
            activations[window] = read(self._settings, pruned, residual)
        return activations
