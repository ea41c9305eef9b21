"""Scores of whole blocks that need no ablation: from the residual stream around them, or from their weights alone."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.eval_callback import EvalCallback, Node
from edgespec.llama.model import Model
from edgespec.progress import SILENT, Progress
from quant.gguf.plan import GgufPlan
from quant.measure.activations import run_windows
from quant.numeric.gradients import BlockGradients, loss_gradients
from quant.numeric.residual_stream import read_block
from quant.prune.amount import BlockAmount
from quant.prune.blocks import BlockSpan
from quant.text.windows import Tokens

BlockScores = NDArray[np.float64]
"""`[n_blocks]`: the lower, the less is lost without the block."""
Matrix = NDArray[np.float32]


def block_influence(model: Model, windows: Tokens, *, progress: Progress = SILENT) -> BlockScores:
    """1 - mean cosine between a block's input and output, `[n_blocks]` (ShortGPT, arXiv 2403.03853).

    Args:
        model: The dense model, on the CPU.
        windows: `[n_windows, n_ctx]` tokens; every position counts.
        progress: Gets the stage "scoring blocks", in windows.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    sums = np.zeros(model.n_layer)

    def compare(residuals: list[Matrix]) -> None:
        for block in range(model.n_layer):
            sums[block] += float((1 - _cosines(residuals[block], residuals[block + 1])).sum())

    _visit_residuals(model, windows, compare, progress)
    return sums / windows.size


def angular_distances(model: Model, windows: Tokens, *, progress: Progress = SILENT) -> NDArray[np.float64]:
    """Mean angle / pi between the inputs of blocks i and j at the windows' last token (arXiv 2403.17887).

    The input of the block after the last is the last one's output. Of a model of 3 blocks, entry [1, 3] says how far
    blocks 1 and 2 together turn the residual stream: 0 leaves its direction, 0.5 is a right angle.

    Args:
        model: The dense model, on the CPU.
        windows: `[n_windows, n_ctx]` tokens.
        progress: Gets the stage "scoring blocks", in windows.

    Returns:
        `[n_blocks + 1, n_blocks + 1]`, symmetric.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    n_points = model.n_layer + 1
    sums = np.zeros((n_points, n_points))

    def compare(residuals: list[Matrix]) -> None:
        last = np.stack([residual[-1] for residual in residuals]).astype(np.float64)
        last /= np.linalg.norm(last, axis=1, keepdims=True)
        sums[:] += np.arccos(np.clip(last @ last.T, -1, 1)) / np.pi

    _visit_residuals(model, windows, compare, progress)
    return sums / len(windows)


def magnitudes(plan: GgufPlan) -> BlockScores:
    """Sum of the absolute weights of every block, norms included, `[n_blocks]` (Shortened LLaMA, arXiv 2402.02834).

    Raises:
        EngineError: ggml cannot read a type.
        OSError: the file cannot be read.
    """
    n_blocks = plan.source.block_count or 0
    sums = [
        sum(float(np.abs(w).sum(dtype=np.float64)) for w in read_block(plan, b).values())
        for b in range(n_blocks)
    ]
    return np.array(sums)


def taylor(plan: GgufPlan, windows: Tokens, *, progress: Progress = SILENT) -> BlockScores:
    """Sum of |weight x gradient| of every block, norms included, `[n_blocks]` (Shortened LLaMA, arXiv 2402.02834).

    Args:
        plan: Of an architecture in COMPUTED_ARCHITECTURES.
        windows: `[n_windows, n_ctx]` tokens; the published script takes 10 x 128.
        progress: Gets the stage "computing gradients".

    Raises:
        UsageError: an architecture without a gradient.
    """
    scores = np.zeros(plan.source.block_count or 0)

    def visit(block: BlockGradients) -> None:
        for name, gradient in block.gradients.items():
            scores[block.number] += float(np.abs(block.weights[name] * gradient).sum(dtype=np.float64))

    loss_gradients(plan, windows, visit, progress=progress)
    return scores


def lowest(scores: BlockScores, amount: BlockAmount) -> tuple[int, ...]:
    """The allowed blocks with the lowest scores, ascending."""
    ranked = sorted(amount.allowed, key=lambda block: float(scores[block]))
    return tuple(sorted(ranked[: amount.n_removed]))


def closest_span(distances: NDArray[np.float64], amount: BlockAmount) -> BlockSpan:
    """The allowed window of blocks whose input and output are closest.

    Args:
        distances: `[n_blocks + 1, n_blocks + 1]`, by `angular_distances`.
        amount: How many blocks leave together, and which may.
    """
    starts = amount.allowed[: len(amount.allowed) - amount.n_removed + 1]
    first = min(starts, key=lambda start: float(distances[start, start + amount.n_removed]))
    return BlockSpan(first, first + amount.n_removed - 1)


def _visit_residuals(
    model: Model, windows: Tokens, compare: Callable[[list[Matrix]], None], progress: Progress
) -> None:
    """Calls `compare` with the residuals before every block and after the last, `[n_ctx, n_embd]` each, of every window."""
    residuals: list[Matrix] = []

    def take_first(node: Node) -> None:
        residuals[:] = [node.output.copy()]

    def take(node: Node) -> None:
        residuals.append(node.output.copy())

    nodes = {"embd": take_first, **{f"l_out-{block}": take for block in range(model.n_layer)}}
    progress.stage("scoring blocks", len(windows))
    run_windows(
        model,
        windows,
        EvalCallback(nodes=nodes),
        progress=progress,
        visit=lambda _window, _logits: compare(residuals),
    )


def _cosines(left: Matrix, right: Matrix) -> NDArray[np.float64]:
    """Of each row of the one with that of the other, `[n]`."""
    products = np.einsum("ij,ij->i", left, right, dtype=np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray(products / np.maximum(lengths, 1e-30))
