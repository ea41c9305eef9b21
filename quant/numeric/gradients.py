"""Gradients of the next-token loss without torch: one block at a time, backwards, in numpy.

The forward pass keeps the stream before every block; the backward pass reads each block once more, from the last to the
first, and hands its weights with their gradients to a visitor. In memory are one block with its gradients, the streams
of the calibration text (for gradients some hundreds of tokens do), and once the output matrix.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgespec.errors import UsageError
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import output_name, planned_weights
from quant.numeric.residual_stream import (
    BlockWeights,
    Matrix,
    StreamSettings,
    embed,
    read_block,
    read_settings,
    run_block,
)
from quant.progress import ChunkProgress
from quant.text.windows import Tokens

Gradients = Mapping[str, Matrix]
"""By a tensor's name without `blk.N.`, in the weights' shapes."""


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
    progress: ChunkProgress | None = None,
) -> float:
    """Hands every block's gradients of the mean loss to `visit`, from the last block to the first.

    Args:
        plan: Of an architecture in REPAIRED_ARCHITECTURES.
        windows: (n_windows, n_ctx) tokens; LLM-Pruner takes 10 x 64.
        visit: Called once for each block.
        squares: Whether the visitor reads squared gradients too.
        progress: Told about blocks, forwards and backwards.

    Returns:
        The mean negative log-likelihood of the next tokens, in nats.

    Raises:
        UsageError: an architecture that is not computed block by block.
    """
    settings = read_settings(plan)
    total = 2 * settings.n_blocks
    streams = [embed(plan, windows)]
    for block in range(settings.n_blocks):
        weights = read_block(plan, block)
        streams.append(np.stack([run_block(settings, weights, stream) for stream in streams[-1]]))
        if progress is not None:
            progress(block + 1, total)
    loss, gradient = _loss_gradient(plan, settings, streams.pop(), windows)
    for block in reversed(range(settings.n_blocks)):
        visit(_backward_through(settings, block, read_block(plan, block), streams.pop(), gradient, squares))
        if progress is not None:
            progress(total - block, total)
    return loss


def _backward_through(
    settings: StreamSettings,
    block: int,
    weights: BlockWeights,
    before: Matrix,
    gradient: Matrix,
    squares: bool,
) -> BlockGradients:
    """A block's gradients; `gradient` becomes the one with respect to the streams before it, in place."""
    sums, squared = zeros_like(weights), zeros_like(weights) if squares else {}
    for window, stream in enumerate(before):
        own = zeros_like(weights) if squares else sums
        gradient[window] = block_backward(settings, weights, own, stream, gradient[window])
        if squares:
            for name, of_window in own.items():
                sums[name] += of_window
                # A window's own mean loss counts len(before) times as much as it does in the mean of all.
                squared[name] += np.square(of_window) * np.float32(len(before))
    return BlockGradients(block, weights, sums, squared)


def zeros_like(weights: BlockWeights) -> dict[str, Matrix]:
    """Gradients of a block to begin with."""
    return {name: np.zeros_like(weight) for name, weight in weights.items()}


def _loss_gradient(
    plan: GgufPlan, settings: StreamSettings, streams: Matrix, tokens: Tokens
) -> tuple[float, Matrix]:
    """The mean loss, and its gradient with respect to the streams after the last block."""
    matrix, norm = planned_weights(plan, output_name(plan)), planned_weights(plan, "output_norm.weight")
    count = tokens.size - len(tokens)
    gradient, loss = np.zeros_like(streams), 0.0
    for window, stream in enumerate(streams):
        normed = RmsNorm(settings, stream[:-1], norm)
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


def block_backward(
    settings: StreamSettings,
    weights: BlockWeights,
    gradients: dict[str, Matrix],
    stream: Matrix,
    gradient: Matrix,
) -> Matrix:
    """Adds a window's gradients of a block's weights; gives the one with respect to the stream before the block.

    Args:
        settings: Of the model.
        weights: The block's.
        gradients: By the weights' names; added to.
        stream: Before the block, (n_ctx, n_embd).
        gradient: With respect to the stream after it, (n_ctx, n_embd).

    Raises:
        UsageError: a block with normalized queries.
    """
    attention = _Attention(settings, weights, stream)
    middle = stream + attention.output
    gradient = gradient + _ffn_backward(settings, weights, gradients, middle, gradient)
    return gradient + attention.backward(gradients, gradient)


def _ffn_backward(
    settings: StreamSettings,
    weights: BlockWeights,
    gradients: dict[str, Matrix],
    stream: Matrix,
    gradient: Matrix,
) -> Matrix:
    norm = RmsNorm(settings, stream, weights["ffn_norm.weight"])
    gate = norm.output @ weights["ffn_gate.weight"].T
    up = norm.output @ weights["ffn_up.weight"].T
    share = 1 / (1 + np.exp(-gate))
    switched = gate * share
    _add(gradients, weights, "ffn_down", switched * up, gradient)
    hidden = gradient @ weights["ffn_down.weight"]
    to_gate = hidden * up * (share + switched * (1 - share))
    to_up = hidden * switched
    _add(gradients, weights, "ffn_gate", norm.output, to_gate)
    _add(gradients, weights, "ffn_up", norm.output, to_up)
    back, of_norm = norm.backward(to_gate @ weights["ffn_gate.weight"] + to_up @ weights["ffn_up.weight"])
    gradients["ffn_norm.weight"] += of_norm
    return back


class _Attention:
    """One window's attention, with what its backward pass needs."""

    def __init__(self, settings: StreamSettings, weights: BlockWeights, stream: Matrix) -> None:
        if "attn_q_norm.weight" in weights:
            raise UsageError("no gradients go through normalized queries", "use `method` depth")
        self._settings, self._weights = settings, weights
        self._norm = RmsNorm(settings, stream, weights["attn_norm.weight"])
        self._query, self._key = (_turn(settings, self._heads(name), 1) for name in ("attn_q", "attn_k"))
        self._value = self._heads("attn_v")
        n_groups, self._n_ctx, head_dim = self._key.shape
        self._scale = np.float32(head_dim**-0.5)
        self._query = self._query.reshape(n_groups, -1, self._n_ctx, head_dim)
        scores = self._query @ self._key[:, None].transpose(0, 1, 3, 2) * self._scale
        scores[..., np.triu(np.ones((self._n_ctx, self._n_ctx), bool), 1)] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        self._shares = scores / scores.sum(axis=-1, keepdims=True)
        self._mixed = self._joined(self._shares @ self._value[:, None])
        self.output: Matrix = self._mixed @ weights["attn_output.weight"].T
        if "attn_output.bias" in weights:
            self.output = self.output + weights["attn_output.bias"]

    def backward(self, gradients: dict[str, Matrix], gradient: Matrix) -> Matrix:
        """Adds the gradients of its weights; gives the one with respect to the stream before it."""
        weights = self._weights
        _add(gradients, weights, "attn_output", self._mixed, gradient)
        mixed = (gradient @ weights["attn_output.weight"]).reshape(self._n_ctx, -1, self._settings.head_dim)
        by_head = mixed.transpose(1, 0, 2).reshape(self._query.shape)
        to_value = (self._shares.transpose(0, 1, 3, 2) @ by_head).sum(axis=1)
        shares = by_head @ self._value[:, None].transpose(0, 1, 3, 2)
        scores = self._shares * (shares - (shares * self._shares).sum(axis=-1, keepdims=True)) * self._scale
        to_query = scores @ self._key[:, None]
        to_key = (scores.transpose(0, 1, 3, 2) @ self._query).sum(axis=1)
        back = np.zeros_like(self._norm.output)
        heads = {
            "attn_q": _turn(self._settings, to_query.reshape(-1, self._n_ctx, self._settings.head_dim), -1),
            "attn_k": _turn(self._settings, to_key, -1),
            "attn_v": to_value,
        }
        for name, rows in heads.items():
            joined = self._joined(rows)
            _add(gradients, weights, name, self._norm.output, joined)
            back += joined @ weights[f"{name}.weight"]
        result, of_norm = self._norm.backward(back)
        gradients["attn_norm.weight"] += of_norm
        return result

    def _heads(self, name: str) -> Matrix:
        rows = self._norm.output @ self._weights[f"{name}.weight"].T
        bias = self._weights.get(f"{name}.bias")
        if bias is not None:
            rows = rows + bias
        return rows.reshape(len(rows), -1, self._settings.head_dim).transpose(1, 0, 2)

    def _joined(self, heads: Matrix) -> Matrix:
        """Heads side by side, (n_ctx, heads * head_dim)."""
        flat = heads.reshape(-1, self._n_ctx, self._settings.head_dim)
        return np.ascontiguousarray(flat.transpose(1, 0, 2), dtype=np.float32).reshape(self._n_ctx, -1)


@dataclass(slots=True, eq=False)
class RmsNorm:
    """RMS norm of some rows, forwards and backwards."""

    settings: StreamSettings
    rows: Matrix
    weight: Matrix

    @property
    def output(self) -> Matrix:
        """The normalized rows."""
        return np.asarray(self.rows * self._scale * self.weight, dtype=np.float32)

    @property
    def _scale(self) -> Matrix:
        squares = np.mean(self.rows * self.rows, axis=-1, keepdims=True)
        return np.asarray(1 / np.sqrt(squares + np.float32(self.settings.norm_epsilon)), dtype=np.float32)

    def backward(self, gradient: Matrix) -> tuple[Matrix, Matrix]:
        """With respect to the rows, and to the weight."""
        scale = self._scale
        scaled = gradient * self.weight
        along = (scaled * self.rows).mean(axis=-1, keepdims=True)
        to_rows = scale * scaled - self.rows * scale**3 * along
        return to_rows, (gradient * self.rows * scale).sum(axis=0)


def _add(
    gradients: dict[str, Matrix], weights: BlockWeights, name: str, inputs: Matrix, gradient: Matrix
) -> None:
    gradients[f"{name}.weight"] += gradient.T @ inputs
    if f"{name}.bias" in weights:
        gradients[f"{name}.bias"] += gradient.sum(axis=0)


def _turn(settings: StreamSettings, heads: Matrix, direction: int) -> Matrix:
    """Rotary positions of (heads, n_ctx, head_dim); the gradient turns the other way."""
    positions = np.arange(heads.shape[1], dtype=np.float32)[:, None] * np.float32(direction)
    cosine, sine = (
        np.cos(positions * settings.rope_frequencies),
        np.sin(positions * settings.rope_frequencies),
    )
    half = settings.head_dim // 2
    first, second = (
        (slice(0, half), slice(half, None))
        if settings.rope_halves
        else (slice(0, None, 2), slice(1, None, 2))
    )
    turned = np.empty_like(heads)
    turned[..., first] = heads[..., first] * cosine - heads[..., second] * sine
    turned[..., second] = heads[..., first] * sine + heads[..., second] * cosine
    return turned
