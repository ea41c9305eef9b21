"""Scores of whole blocks that need no ablation: from the stream around them, or from their weights alone."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.eval_callback import EvalCallback, Node
from edgespec.llama.model import Model
from quant.gguf.plan import GgufPlan
from quant.measure.activations import run_windows
from quant.numeric.gradients import BlockGradients, loss_gradients
from quant.numeric.residual_stream import read_block
from quant.progress import ChunkProgress
from quant.text.windows import Tokens

Scores = NDArray[np.float64]
Matrix = NDArray[np.float32]


def block_influence(
    model: Model, windows: Tokens, *, n_threads: int | None = None, progress: ChunkProgress | None = None
) -> Scores:
    """1 - mean cosine between a block's input and output, (n_blocks,) (ShortGPT, arXiv 2403.03853)."""
    sums = np.zeros(model.n_layer)

    def compare(streams: list[Matrix]) -> None:
        for block in range(model.n_layer):
            sums[block] += float((1 - _cosines(streams[block], streams[block + 1])).sum())

    _visit_streams(model, windows, compare, n_threads, progress)
    return sums / windows.size


def angular_distances(
    model: Model, windows: Tokens, *, n_threads: int | None = None, progress: ChunkProgress | None = None
) -> Scores:
    """Mean angle / pi between the inputs of blocks i and j at the windows' last token (arXiv 2403.17887).

    Shape (n_blocks + 1, n_blocks + 1); the input of the block after the last is the last one's output.
    """
    n_points = model.n_layer + 1
    sums = np.zeros((n_points, n_points))

    def compare(streams: list[Matrix]) -> None:
        last = np.stack([stream[-1] for stream in streams]).astype(np.float64)
        last /= np.linalg.norm(last, axis=1, keepdims=True)
        sums[:] += np.arccos(np.clip(last @ last.T, -1, 1)) / np.pi

    _visit_streams(model, windows, compare, n_threads, progress)
    return sums / len(windows)


def magnitudes(plan: GgufPlan) -> Scores:
    """Sum of the absolute weights of every block, norms included, (n_blocks,) (Shortened LLaMA, arXiv 2402.02834)."""
    n_blocks = plan.source.block_count or 0
    sums = [
        sum(float(np.abs(w).sum(dtype=np.float64)) for w in read_block(plan, b).values())
        for b in range(n_blocks)
    ]
    return np.array(sums)


def taylor(plan: GgufPlan, windows: Tokens, *, progress: ChunkProgress | None = None) -> Scores:
    """Sum of |weight x gradient| of every block, norms included, (n_blocks,) (Shortened LLaMA, arXiv 2402.02834).

    Args:
        plan: Of an architecture in REPAIRED_ARCHITECTURES.
        windows: (n_windows, n_ctx) tokens; the published script takes 10 x 128.
        progress: Told about blocks, forwards and backwards.

    Raises:
        UsageError: an architecture without a gradient.
    """
    scores = np.zeros(plan.source.block_count or 0)

    def visit(block: BlockGradients) -> None:
        for name, gradient in block.gradients.items():
            scores[block.number] += float(np.abs(block.weights[name] * gradient).sum(dtype=np.float64))

    loss_gradients(plan, windows, visit, progress=progress)
    return scores


def lowest(scores: Scores, n_removed: int, allowed: range) -> tuple[int, ...]:
    """The allowed blocks with the lowest scores, ascending."""
    ranked = sorted(allowed, key=lambda block: float(scores[block]))
    return tuple(sorted(ranked[:n_removed]))


def closest_span(distances: Scores, n_removed: int, allowed: range) -> tuple[int, ...]:
    """The allowed window whose input and output are closest."""
    starts = allowed[: len(allowed) - n_removed + 1]
    first = min(starts, key=lambda start: float(distances[start, start + n_removed]))
    return tuple(range(first, first + n_removed))


def _visit_streams(
    model: Model,
    windows: Tokens,
    compare: Callable[[list[Matrix]], None],
    n_threads: int | None,
    progress: ChunkProgress | None,
) -> None:
    """Calls `compare` with the stream before every block and after the last, of one window at a time."""
    streams: list[Matrix] = []

    def take_first(node: Node) -> None:
        streams[:] = [node.output.copy()]

    def take(node: Node) -> None:
        streams.append(node.output.copy())

    nodes = {"embd": take_first, **{f"l_out-{block}": take for block in range(model.n_layer)}}
    tap = EvalCallback(nodes=nodes)
    run_windows(
        model,
        windows,
        tap,
        n_threads=n_threads,
        progress=progress,
        visit=lambda _window, _logits: compare(streams),
    )


def _cosines(left: Matrix, right: Matrix) -> Scores:
    products = np.einsum("ij,ij->i", left, right, dtype=np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray(products / np.maximum(lengths, 1e-30))
