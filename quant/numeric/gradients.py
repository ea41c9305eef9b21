"""Gradients of the next-token loss without torch: one block at a time, backwards, in numpy.

The forward pass keeps the residual stream before every block; the backward pass reads each block once more, from the
last to the first, and hands its weights with their gradients to a visitor. In memory are one block with its gradients,
the residuals of the calibration text (for gradients some hundreds of tokens do), and once the output matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgespec.progress import SILENT, Progress
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import output_name, planned_weights
from quant.numeric.backward import Gradients, RmsNorm, block_backward, zeros_like
from quant.numeric.residual_stream import (
    BlockSettings,
    BlockWeights,
    Matrix,
    embed,
    read_block,
    read_settings,
    run_block,
)
from quant.text.windows import Tokens


@dataclass(frozen=True, slots=True, eq=False)
class BlockGradients:
    """One block of a model, and what its weights do to the loss."""

    number: int
    weights: BlockWeights
    gradients: Gradients
    """Of the mean loss over all windows."""
    squares: Gradients
    """Mean over the windows of the squared gradient of each one's own mean loss; empty unless asked for."""


Visitor = Callable[[BlockGradients], None]


def loss_gradients(
    plan: GgufPlan,
    windows: Tokens,
    visit: Visitor,
    *,
    squares: bool = False,
    progress: Progress = SILENT,
) -> float:
    """Hands every block's gradients of the mean loss to `visit`, from the last block to the first.

    Args:
        plan: Of an architecture in COMPUTED_ARCHITECTURES.
        windows: `[n_windows, n_ctx]` tokens; LLM-Pruner takes 10 x 64.
        visit: Called once for each block.
        squares: Whether the visitor reads squared gradients too.
        progress: Gets the stage "computing gradients", in blocks, forwards and backwards.

    Returns:
        The mean negative log-likelihood of the next tokens, in nats.

    Raises:
        UsageError: an architecture that is not computed block by block, or one with normalized queries.
    """
    settings = read_settings(plan)
    progress.stage("computing gradients", 2 * settings.n_blocks)
    residuals = [embed(plan, windows)]
    for block in range(settings.n_blocks):
        weights = read_block(plan, block)
        residuals.append(np.stack([run_block(settings, weights, one) for one in residuals[-1]]))
        progress.advance()
    loss, gradient = _loss_gradient(plan, settings, residuals.pop(), windows)
    for block in reversed(range(settings.n_blocks)):
        visit(_backward_through(settings, block, read_block(plan, block), residuals.pop(), gradient, squares))
        progress.advance()
    return loss


def _backward_through(
    settings: BlockSettings,
    block: int,
    weights: BlockWeights,
    before: Matrix,
    gradient: Matrix,
    squares: bool,
) -> BlockGradients:
    """A block's gradients; `gradient` becomes the one with respect to the residuals before it, in place.

    Args:
        settings: Of the model.
        block: Its number.
        weights: Its weights.
        before: The residuals before it, `[n_windows, n_ctx, n_embd]`.
        gradient: With respect to those after it, `[n_windows, n_ctx, n_embd]`.
        squares: Whether squared gradients are wanted.
    """
    sums, squared = zeros_like(weights), zeros_like(weights) if squares else {}
    for window, residual in enumerate(before):
        own = zeros_like(weights) if squares else sums
        gradient[window] = block_backward(settings, weights, own, residual, gradient[window])
        if squares:
            for name, of_window in own.items():
                sums[name] += of_window
                # A window's own mean loss counts len(before) times as much as it does in the mean of all.
                squared[name] += np.square(of_window) * np.float32(len(before))
    return BlockGradients(block, weights, sums, squared)


def _loss_gradient(
    plan: GgufPlan, settings: BlockSettings, residuals: Matrix, tokens: Tokens
) -> tuple[float, Matrix]:
    """The mean loss, and its gradient with respect to the residuals after the last block.

    The gradient of -log softmax(z)[t] with respect to the logits z is softmax(z), less 1 at t.

    Args:
        plan: Of the model.
        settings: Of it.
        residuals: `[n_windows, n_ctx, n_embd]`.
        tokens: `[n_windows, n_ctx]`; the loss is over the n_ctx - 1 that follow another.

    Returns:
        Nats a token, and `[n_windows, n_ctx, n_embd]`.
    """
    matrix, norm = planned_weights(plan, output_name(plan)), planned_weights(plan, "output_norm.weight")
    count = tokens.size - len(tokens)
    gradient, loss = np.zeros_like(residuals), 0.0
    for window, residual in enumerate(residuals):
        normed = RmsNorm(settings, residual[:-1], norm)
        logits = normed.output @ matrix.T
        logits -= logits.max(axis=1, keepdims=True)
        rows, following = np.arange(len(logits)), tokens[window, 1:]
        chosen = logits[rows, following].astype(np.float64)
        np.exp(logits, out=logits)
        sums = logits.sum(axis=1, dtype=np.float64)
        loss += float((np.log(sums) - chosen).sum())
        logits /= sums[:, None].astype(np.float32)
        logits[rows, following] -= 1
        of_normed = np.asarray(logits @ matrix, dtype=np.float32)
        of_normed /= count
        gradient[window, :-1] = normed.backward(of_normed)[0]
    return loss / count, gradient
