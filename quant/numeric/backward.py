"""One block's backward pass: from the gradient of a residual after the block to that before it and of its weights.

Every function takes the block's inputs, computes what its forward pass holds on the way once more, and adds to the
gradients of the weights. A gradient has the shape of what it is taken with respect to.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgespec.errors import UsageError
from quant.numeric.residual_stream import BlockSettings, BlockWeights, Matrix, project, rotate

Gradients = Mapping[str, Matrix]
"""By a tensor's name without `blk.N.`, in the weights' shapes."""


def zeros_like(weights: BlockWeights) -> dict[str, Matrix]:
    """Gradients of a block to begin with: by tensor, zeros in the weights' shapes."""
    return {name: np.zeros_like(weight) for name, weight in weights.items()}


def block_backward(
    settings: BlockSettings,
    weights: BlockWeights,
    gradients: dict[str, Matrix],
    residual: Matrix,
    gradient: Matrix,
) -> Matrix:
    """Adds a window's gradients of a block's weights; gives the one with respect to the residual before the block.

    Both sublayers add to the residual, so that the gradient of what comes after a sublayer also is one of what comes
    before it: with y = x + f(x), dL/dx = dL/dy + f'(x)' dL/dy.

    Args:
        settings: Of the model.
        weights: The block's.
        gradients: By the weights' names; added to.
        residual: Before the block, `[n_ctx, n_embd]`.
        gradient: Of the loss with respect to the residual after it, `[n_ctx, n_embd]`.

    Returns:
        Of the loss with respect to the residual before it, `[n_ctx, n_embd]`.

    Raises:
        UsageError: a block with normalized queries.
    """
    attention = _Attention(settings, weights, residual)
    middle = residual + attention.output
    gradient = gradient + _ffn_backward(settings, weights, gradients, middle, gradient)
    return gradient + attention.backward(gradients, gradient)


def _ffn_backward(
    settings: BlockSettings,
    weights: BlockWeights,
    gradients: dict[str, Matrix],
    residual: Matrix,
    gradient: Matrix,
) -> Matrix:
    """Through `ffn_down(silu(gate) * up)`; the residual is the one after attention, `[n_ctx, n_embd]`.

    With s the sigmoid of the gate g, silu(g) = g s and silu'(g) = s + g s (1 - s).
    """
    norm = RmsNorm(settings, residual, weights["ffn_norm.weight"])
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
    """One window's attention, with what its backward pass needs.

    Shapes, with h query heads for each of g KV groups: queries `[g, h, n_ctx, head_dim]`, keys and values
    `[g, n_ctx, head_dim]`, shares (the softmax) `[g, h, n_ctx, n_ctx]`, mixed `[n_ctx, g * h * head_dim]`.
    """

    def __init__(self, settings: BlockSettings, weights: BlockWeights, residual: Matrix) -> None:
        if "attn_q_norm.weight" in weights:
            raise UsageError("no gradients go through normalized queries", "use `method` depth")
        self._settings, self._weights = settings, weights
        self._norm = RmsNorm(settings, residual, weights["attn_norm.weight"])
        self._query, self._key = (rotate(settings, self._heads(name)) for name in ("attn_q", "attn_k"))
        self._value = self._heads("attn_v")
        n_groups, self._n_ctx, head_dim = self._key.shape
        self._scale = np.float32(head_dim**-0.5)
        self._query = self._query.reshape(n_groups, -1, self._n_ctx, head_dim)
        scores = self._query @ self._key[:, None].transpose(0, 1, 3, 2) * self._scale
        scores[..., np.triu(np.ones((self._n_ctx, self._n_ctx), bool), 1)] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        self._shares = scores / scores.sum(axis=-1, keepdims=True)
        self._mixed = self._joined(self._shares @ self._value[:, None])
        self.output: Matrix = project(weights, "attn_output", self._mixed)
        """What attention adds to the residual, `[n_ctx, n_embd]`."""

    def backward(self, gradients: dict[str, Matrix], gradient: Matrix) -> Matrix:
        """Adds the gradients of its weights; gives the one with respect to the residual before it.

        Through the softmax p of a row of scores, dL/dscore = p (dL/dp - sum p dL/dp).

        Args:
            gradients: By the weights' names; added to.
            gradient: With respect to the residual after it, `[n_ctx, n_embd]`.
        """
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
        by_query = to_query.reshape(-1, self._n_ctx, self._settings.head_dim)
        heads = {
            "attn_q": rotate(self._settings, by_query, back=True),
            "attn_k": rotate(self._settings, to_key, back=True),
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
        """`[n_heads, n_ctx, head_dim]`."""
        rows = project(self._weights, name, self._norm.output)
        return rows.reshape(len(rows), -1, self._settings.head_dim).transpose(1, 0, 2)

    def _joined(self, heads: Matrix) -> Matrix:
        """Heads side by side, `[n_ctx, n_heads * head_dim]`."""
        flat = heads.reshape(-1, self._n_ctx, self._settings.head_dim)
        return np.ascontiguousarray(flat.transpose(1, 0, 2), dtype=np.float32).reshape(self._n_ctx, -1)


@dataclass(slots=True, eq=False)
class RmsNorm:
    """RMS norm of some rows, forwards and backwards (arXiv 1910.07467): rows / sqrt(mean of squares + epsilon) * weight.

    The row `[3, 4]` with weight `[1, 2]` becomes `[0.849, 2.263]`: its root mean square is 3.536.
    """

    settings: BlockSettings
    rows: Matrix
    """`[n, n_embd]`."""
    weight: Matrix
    """`[n_embd]`."""

    @property
    def output(self) -> Matrix:
        """The normalized rows, `[n, n_embd]`."""
        return np.asarray(self.rows * self._scale * self.weight, dtype=np.float32)

    @property
    def _scale(self) -> Matrix:
        """One over the root mean square of each row, `[n, 1]`."""
        squares = np.mean(self.rows * self.rows, axis=-1, keepdims=True)
        return np.asarray(1 / np.sqrt(squares + np.float32(self.settings.norm_epsilon)), dtype=np.float32)

    def backward(self, gradient: Matrix) -> tuple[Matrix, Matrix]:
        """The gradients with respect to the rows, `[n, n_embd]`, and to the weight, `[n_embd]`.

        Args:
            gradient: With respect to the output, `[n, n_embd]`.
        """
        scale = self._scale
        scaled = gradient * self.weight
        along = (scaled * self.rows).mean(axis=-1, keepdims=True)
        to_rows = scale * scaled - self.rows * scale**3 * along
        return to_rows, (gradient * self.rows * scale).sum(axis=0)


def _add(
    gradients: dict[str, Matrix], weights: BlockWeights, name: str, inputs: Matrix, gradient: Matrix
) -> None:
    """Of a projection: its matrix gets gradient' inputs, its bias the sum of the gradient's rows."""
    gradients[f"{name}.weight"] += gradient.T @ inputs
    if f"{name}.bias" in weights:
        gradients[f"{name}.bias"] += gradient.sum(axis=0)
