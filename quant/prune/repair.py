"""Repair without training: each kept block is refitted so that the pruned model's stream follows the dense one's.

Two streams walk the calibration text in step, the dense model's X and the pruned model's Y. Where Y has drifted, the
block's `attn_output` and `ffn_down` are fitted anew by least squares on the pruned model's own activations H, towards
what the dense stream holds at that place, so that a later block makes good what an earlier one lost:

    own step    D1 = argmin |H D1 - (f_dense(Y) - f_pruned(Y))|^2 + a1 |D1|^2     for columns that were cut
    drift step  D2 = argmin |H D2 - (X' - Y - f_pruned(Y) - H D1)|^2 + a2 |D2|^2  for all that was lost before

Both pull towards the weights that are there, so that much ridge means little change. It widens ReplaceMe's fold
(arXiv 2505.02819), which is linear in the FFN's output, to the FFN's neurons and to every block after the gap; the
targets of the dense model on the inputs of the pruned one are those of SparseGPT-like reconstructions with error
propagation (arXiv 2301.00774). Tokens count by 1 / |X'|^2: norms undo a stream's length, so relative errors matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.library import default_threads
from edgespec.llama.weights import dequantize, quantize
from quant.gguf.plan import ComputedTensor, GgufPlan
from quant.gguf.tensors import find_tensor, replace_tensors
from quant.measure.evaluate import nll_and_kl
from quant.numeric.residual_stream import (
    BlockWeights,
    Matrix,
    OutputHead,
    StreamSettings,
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
from quant.numeric.ridge import DEFAULT_RIDGES, Ridges, ridge_fit
from quant.progress import ChunkProgress
from quant.text.calibration import Calibration
from quant.text.windows import Tokens

_MANY_COLUMNS: Final = 2048
_WIDE_EVERY: Final = 4
_LOGIT_ROWS: Final = 64
"""In memory at once: of 150,000 tokens, 38 MB."""

_Reader = Callable[[StreamSettings, BlockWeights, Matrix], Matrix]


@dataclass(frozen=True, slots=True)
class RepairReport:
    """Means in nats on text that the fit has not seen.

    The KL divergence from the dense model judges: the negative log-likelihood of a few hundred tokens hangs on which ones
    the text has (0.5B, 5 of 24 blocks, 511 tokens of own answers: the repair's gain was 0.18 +- 0.03 in the former and
    -0.10 +- 0.08 in the latter; on other text it gained in both).
    """

    dense_nll: float
    cut_nll: float
    repaired_nll: float
    cut_kl: float
    repaired_kl: float
    harmed_texts: tuple[int, ...]
    """The calibration texts, counted from 0, on which the repaired model is farther from the dense one than the cut one."""

    @property
    def helped(self) -> bool:
        """Whether the repaired model is closer to the dense one than the cut one, and on no text farther away."""
        return not self.objection

    @property
    def objection(self) -> str:
        """Why the repair is left out; empty where it helped."""
        if self.repaired_kl >= self.cut_kl:
            return "it did not help"
        return "it made the model worse on one of the texts" if self.harmed_texts else ""


def repair(
    dense: GgufPlan,
    pruned: GgufPlan,
    kept_blocks: Sequence[int],
    calibration: Calibration,
    folder: Path,
    *,
    ridges: Ridges = DEFAULT_RIDGES,
    progress: ChunkProgress | None = None,
) -> tuple[GgufPlan, RepairReport]:
    """The pruned plan with its blocks refitted, or as it was where that did not help, or harmed one of the texts.

    Args:
        dense: The model before the cut.
        pruned: After it, with its blocks renumbered.
        kept_blocks: For each of the pruned model's blocks, its number in the dense one.
        calibration: What is fitted on, and what judges.
        folder: Takes the refitted tensors until the plan is written; its owner removes it.
        ridges: How strongly both steps may hold on to the weights that are there; every fit takes those that serve the
            held-out text best.
        progress: Told after every block of the dense model.

    Raises:
        UsageError: an architecture that is not computed block by block.
    """
    walk = _Walk(dense, pruned, calibration, folder, ridges)
    targets = [*kept_blocks[1:], walk.n_dense_blocks]
    walk.run_dense(range(kept_blocks[0]))
    for block, (source, target) in enumerate(zip(kept_blocks, targets, strict=True)):
        walk.step(block, source, target)
        if progress is not None:
            progress(target, walk.n_dense_blocks)
    report = walk.report()
    return (walk.repaired, report) if report.helped else (pruned, report)


class _Walk:
    """Both streams at the same place, and the plan with all that was refitted so far."""

    def __init__(
        self,
        dense: GgufPlan,
        pruned: GgufPlan,
        calibration: Calibration,
        folder: Path,
        ridges: Ridges,
    ) -> None:
        self.repaired = pruned
        self.n_dense_blocks = read_settings(dense).n_blocks
        self._dense, self._pruned = dense, pruned
        self._dense_settings, self._settings = read_settings(dense), read_settings(pruned)
        self._folder, self._ridges = folder, ridges
        self._calibration = calibration
        self._n_fit = len(calibration.fit)
        self._x = embed(dense, np.concatenate([calibration.fit, calibration.held_out]))
        self._y = self._x.copy()
        self._cut = self._x[self._n_fit :].copy()
        """The pruned model's stream without any repair, held-out windows only."""
        self._drifted = False
        self._chosen: dict[str, Ridges] = {}
        """Those of the last fit, by projection."""

    def run_dense(self, blocks: range) -> None:
        """Moves only the dense stream on."""
        for block in blocks:
            weights = read_block(self._dense, block)
            for window, stream in enumerate(self._x):
                self._x[window] = run_block(self._dense_settings, weights, stream)
        self._drifted = self._drifted or len(blocks) > 0

    def step(self, block: int, source: int, target: int) -> None:
        """Moves all streams through one kept block: the dense one to the input of its block `target`."""
        dense, pruned = read_block(self._dense, source), read_block(self._pruned, block)
        for window, stream in enumerate(self._cut):
            self._cut[window] = run_block(self._settings, pruned, stream)
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
        """Losses on the held-out windows."""
        head, n_fit, n_texts = read_head(self._dense), self._n_fit, self._calibration.n_texts
        windows = zip(self._calibration.held_out, self._x[n_fit:], self._cut, self._y[n_fit:], strict=True)
        losses = np.array([_losses(head, *window) for window in windows])
        (dense_nll, cut_nll, cut_kl), (_, repaired_nll, repaired_kl) = losses.mean(axis=0).tolist()
        harm = losses[:, 1, 2] - losses[:, 0, 2]
        return RepairReport(
            dense_nll=dense_nll,
            cut_nll=cut_nll,
            repaired_nll=repaired_nll,
            cut_kl=cut_kl,
            repaired_kl=repaired_kl,
            harmed_texts=tuple(text for text in range(n_texts) if harm[text::n_texts].sum() > 0),
        )

    def _add_dense(self, dense: BlockWeights, name: str, read: _Reader) -> None:
        for window, stream in enumerate(self._x):
            self._x[window] += project(dense, name, read(self._dense_settings, dense, stream))

    def _follow(
        self, block: int, name: str, read: _Reader, dense: BlockWeights, pruned: BlockWeights
    ) -> None:
        """Moves the pruned stream through a sublayer, its projection fitted anew where the streams differ."""
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
            token_weights = 1 / np.mean(after * after, axis=1)
            own = None
            if was_cut:
                own = project(dense, name, read(self._dense_settings, dense, before)) - output
            take = fit.add if window < self._n_fit else fit.judge
            take(activations[window], own, after - before - output, token_weights)
        change, self._chosen[name] = fit.solve(self._ridges_for(block, name, n_columns))
        refitted = weight
        if change.any():
            refitted = self._keep(block, name, weight + change, fit.mean_squares)
        for window in range(len(self._y)):
            self._y[window] += project({**pruned, f"{name}.weight": refitted}, name, activations[window])
        self._drifted = True

    def _ridges_for(self, block: int, name: str, n_columns: int) -> Ridges:
        """All of them; for wide matrices only now and then, because every ridge is a factorization more."""
        chosen = self._chosen.get(name)
        if chosen is None or n_columns <= _MANY_COLUMNS or block % _WIDE_EVERY == 0:
            return self._ridges
        return chosen

    def _activations(self, read: _Reader, pruned: BlockWeights, n_columns: int) -> Matrix:
        """The sublayer's inputs for every window of the pruned stream: on disk, they can outgrow the model."""
        shape = (*self._y.shape[:2], n_columns)
        activations = np.memmap(self._folder / "activations", np.float32, "w+", shape=shape)
        for window, stream in enumerate(self._y):
            activations[window] = read(self._settings, pruned, stream)
        return activations

    def _keep(self, block: int, name: str, weight: Matrix, importance: Matrix) -> Matrix:
        """Stores the weight in its tensor's type, and gives it back as that type holds it."""
        full_name = f"blk.{block}.{name}.weight"
        tensor = find_tensor(self.repaired, full_name)
        assert tensor is not None
        n_threads = default_threads()
        data = quantize(np.ascontiguousarray(weight), tensor.ggml_type, importance, n_threads)
        file = self._folder / full_name
        data.tofile(file)
        stored = replace(tensor, source=ComputedTensor(partial(_stored_bytes, file)))
        self.repaired = replace_tensors(self.repaired, {full_name: stored})
        return dequantize(data, tensor.ggml_type, (weight.shape[0], weight.shape[1]), n_threads)


def _losses(head: OutputHead, window: Tokens, dense: Matrix, *pruned: Matrix) -> list[list[float]]:
    """For each of the pruned streams the dense model's and its own negative log-likelihood and their KL divergence, in nats."""
    sums = np.zeros((len(pruned), 3))
    n_scored = len(window) - 1
    for start in range(0, n_scored, _LOGIT_ROWS):
        rows = slice(start, min(start + _LOGIT_ROWS, n_scored))
        dense_logits, following = head.logits(dense[rows]), window[1:][rows]
        for total, stream in zip(sums, pruned, strict=True):
            scores = nll_and_kl(head.logits(stream[rows]), following, dense_logits)
            total += scores.dense_nll.sum(), scores.nll.sum(), scores.kl.sum()
    means: list[list[float]] = (sums / n_scored).tolist()
    return means


def _stored_bytes(file: Path) -> NDArray[np.uint8]:
    return np.fromfile(file, np.uint8)
