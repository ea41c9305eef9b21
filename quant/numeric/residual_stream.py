"""The residual stream, one block at a time, in numpy: what a repair or a gradient sees of a model.

llama.cpp evaluates whole models; a fit that walks two models in step needs single blocks. Only one block's weights
are in memory. Norms, rotary positions and attention follow llama.cpp's graphs (src/models/llama.cpp, qwen2.cpp,
qwen3.cpp, deci.cpp), in single precision.

A `residual` is the residual stream of one window, `[n_ctx, n_embd]`: a row for every token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import UsageError
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import find_tensor, output_name, planned_weights
from quant.numeric.architectures import COMPUTED_ARCHITECTURES

_HALVES: Final = ("qwen2", "qwen3")
"""Rotary positions turn the two halves of a head against each other; the others turn neighbours."""
_DEFAULT_ROPE_BASE: Final = 10000.0
"""llama.cpp's own, where a file does not say (`rope_freq_base_train` in src/llama-model.cpp)."""

Matrix = NDArray[np.float32]
BlockWeights = Mapping[str, Matrix]
"""A block's tensors by their names without `blk.N.`: matrices `[n_outputs, n_inputs]`, norms and biases `[n]`."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockSettings:
    """What a model's blocks share."""

    n_blocks: int
    n_embd: int
    head_dim: int
    norm_epsilon: float
    rope_frequencies: Matrix
    """Radians a position, `[head_dim / 2]`."""
    rope_halves: bool
    """Whether rotary positions turn element i of a head against i + head_dim / 2; else 2i against 2i + 1."""


def read_settings(plan: GgufPlan) -> BlockSettings:
    """The settings of a plan's model.

    Raises:
        UsageError: an architecture, a mixture of experts, or a stretching of positions that is not computed here.
    """
    architecture = plan.architecture
    if architecture not in COMPUTED_ARCHITECTURES:
        raise UsageError(
            f"the architecture {architecture or 'unknown'} is not computed block by block",
            f"those that are: {', '.join(COMPUTED_ARCHITECTURES)}",
        )
    if plan.source.expert_count:
        raise UsageError(
            f"the {plan.source.expert_count} experts of {plan.source.path.name} are not computed block by block",
            "choose blocks by another `criterion` than taylor",
        )
    n_embd = int(_number(plan, "embedding_length"))
    head_dim = int(_number(plan, "attention.key_length", n_embd // max(1, _most_heads(plan))))
    return BlockSettings(
        n_blocks=int(_number(plan, "block_count")),
        n_embd=n_embd,
        head_dim=head_dim,
        norm_epsilon=_number(plan, "attention.layer_norm_rms_epsilon"),
        rope_frequencies=_rope_frequencies(plan, head_dim),
        rope_halves=architecture in _HALVES,
    )


def read_block(plan: GgufPlan, block: int) -> BlockWeights:
    """The weights of one block in single precision, as the plan writes them.

    `read_block(plan, 3)["ffn_down.weight"]` is the tensor `blk.3.ffn_down.weight`, `[n_embd, n_ff]`, and
    `["attn_norm.weight"]` is `[n_embd]`. A block that the plan does not have gives an empty mapping.

    Raises:
        EngineError: ggml cannot read a tensor's type.
        OSError: the source cannot be read.
    """
    prefix = f"blk.{block}."
    names = [tensor.name for tensor in plan.tensors if tensor.name.startswith(prefix)]
    return {name.removeprefix(prefix): planned_weights(plan, name) for name in names}


def embed(plan: GgufPlan, tokens: NDArray[np.int32]) -> Matrix:
    """The residuals before block 0, `[n_windows, n_ctx, n_embd]`, of `tokens`, `[n_windows, n_ctx]`.

    Raises:
        EngineError: ggml cannot read the embedding's type.
        OSError: the file cannot be read.
    """
    table = planned_weights(plan, "token_embd.weight")
    return np.asarray(table[tokens], dtype=np.float32)


def attention_input(settings: BlockSettings, weights: BlockWeights, residual: Matrix) -> Matrix:
    """What `attn_output` reads for one window: the heads' mixed values, side by side.

    Args:
        settings: Of the model.
        weights: The block's.
        residual: Before the block, `[n_ctx, n_embd]`.

    Returns:
        `[n_ctx, n_head * head_dim]`.
    """
    normed = _normalize(settings, residual, weights["attn_norm.weight"])
    query, key, value = (_heads(settings, weights, normed, name) for name in ("attn_q", "attn_k", "attn_v"))
    query, key = rotate(settings, query), rotate(settings, key)
    n_groups, n_ctx, head_dim = key.shape
    # The query heads of a KV group lie one after the other: `[n_groups, heads_per_group * n_ctx, head_dim]`.
    grouped = query.reshape(n_groups, -1, head_dim)
    scores = grouped @ key.transpose(0, 2, 1)
    scores *= np.float32(head_dim**-0.5)
    _softmax_causal(scores.reshape(-1, n_ctx, n_ctx))
    mixed = (scores @ value).reshape(-1, n_ctx, head_dim).transpose(1, 0, 2)
    return np.ascontiguousarray(mixed, dtype=np.float32).reshape(n_ctx, -1)


def ffn_input(settings: BlockSettings, weights: BlockWeights, residual: Matrix) -> Matrix:
    """What `ffn_down` reads for one window: silu(gate) * up of every neuron.

    Args:
        settings: Of the model.
        weights: The block's.
        residual: After the block's attention, `[n_ctx, n_embd]`.

    Returns:
        `[n_ctx, n_ff]`.
    """
    normed = _normalize(settings, residual, weights["ffn_norm.weight"])
    gate = normed @ weights["ffn_gate.weight"].T
    up: Matrix = normed @ weights["ffn_up.weight"].T
    up *= gate
    np.negative(gate, out=gate)
    np.exp(gate, out=gate)
    gate += 1
    up /= gate
    return up


def project(weights: BlockWeights, name: str, rows: Matrix) -> Matrix:
    """The rows times a matrix of the block, its bias added where it has one: rows W' + b.

    With `ffn_down.weight` = `[[1, 0, 2], [0, 1, 0]]` (two outputs of three inputs) and `ffn_down.bias` = `[10, 0]`,
    `project(weights, "ffn_down", [[1, 1, 1]])` is `[[13, 1]]`.

    Args:
        weights: The block's.
        name: Of the matrix without `.weight`, such as `attn_output`.
        rows: `[n, n_inputs]`.

    Returns:
        `[n, n_outputs]`.
    """
    result: Matrix = rows @ weights[f"{name}.weight"].T
    bias = weights.get(f"{name}.bias")
    if bias is not None:
        result += bias
    return result


def has_attention(weights: BlockWeights) -> bool:
    """False for a block whose attention was removed whole (`deci`)."""
    return "attn_output.weight" in weights


def run_block(settings: BlockSettings, weights: BlockWeights, residual: Matrix) -> Matrix:
    """One window's residual after the block, `[n_ctx, n_embd]`, of the one before it, `[n_ctx, n_embd]`."""
    if has_attention(weights):
        residual = residual + project(weights, "attn_output", attention_input(settings, weights, residual))
    return residual + project(weights, "ffn_down", ffn_input(settings, weights, residual))


@dataclass(frozen=True, slots=True, eq=False)
class OutputHead:
    """What turns the residual after the last block into logits; pruning leaves it as it is."""

    settings: BlockSettings
    matrix: Matrix
    """`[n_vocab, n_embd]`."""
    norm: Matrix
    """`[n_embd]`."""

    def logits(self, residual: Matrix) -> Matrix:
        """`[n, n_vocab]`, of rows of the residual, `[n, n_embd]`."""
        return _normalize(self.settings, residual, self.norm) @ self.matrix.T


def read_head(plan: GgufPlan) -> OutputHead:
    """The output head: 4 bytes of memory for every weight.

    Raises:
        UsageError: an architecture that is not computed here.
    """
    matrix = planned_weights(plan, output_name(plan))
    return OutputHead(read_settings(plan), matrix, planned_weights(plan, "output_norm.weight"))


def rotate(settings: BlockSettings, heads: Matrix, *, back: bool = False) -> Matrix:
    """Heads turned by their rotary positions (RoFormer, arXiv 2104.09864); row p by p times each frequency.

    Args:
        settings: Of the model.
        heads: `[n_heads, n_ctx, head_dim]`.
        back: Turn the other way: what a gradient with respect to the turned heads becomes before them.

    Returns:
        `[n_heads, n_ctx, head_dim]`.
    """
    positions = np.arange(heads.shape[1], dtype=np.float32)[:, None] * np.float32(-1 if back else 1)
    angles = positions * settings.rope_frequencies
    cosine, sine = np.cos(angles), np.sin(angles)
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


def _heads(settings: BlockSettings, weights: BlockWeights, normed: Matrix, name: str) -> Matrix:
    """`[n_heads, n_ctx, head_dim]`, normalized where the architecture does."""
    rows = project(weights, name, normed).reshape(len(normed), -1, settings.head_dim)
    norm = weights.get(f"{name}_norm.weight")
    if norm is not None:
        rows = _normalize(settings, rows, norm)
    return np.ascontiguousarray(rows.transpose(1, 0, 2))


def _normalize(settings: BlockSettings, rows: Matrix, weight: Matrix) -> Matrix:
    scale = np.sqrt(np.mean(rows * rows, axis=-1, keepdims=True) + np.float32(settings.norm_epsilon))
    normed: Matrix = rows / scale
    normed *= weight
    return normed


def _softmax_causal(scores: Matrix) -> None:
    """In place, `[n_heads, n_ctx, n_ctx]`."""
    n_ctx = scores.shape[-1]
    scores[:, np.triu(np.ones((n_ctx, n_ctx), bool), 1)] = -np.inf
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)


def _rope_frequencies(plan: GgufPlan, head_dim: int) -> Matrix:
    scaling = plan.model_field("rope.scaling.type")
    if scaling is not None and scaling.value != "none":
        raise UsageError(
            f"positions stretched by {scaling.value} scaling are not computed block by block",
            "use a model without rope scaling",
        )
    base = _number(plan, "rope.freq_base", _DEFAULT_ROPE_BASE)
    n_turned = int(_number(plan, "rope.dimension_count", head_dim))
    if n_turned != head_dim:
        raise UsageError(
            f"heads of {head_dim} with {n_turned} turned dimensions are not computed block by block"
        )
    frequencies = base ** (-np.arange(0, head_dim, 2) / head_dim)
    if find_tensor(plan, "rope_freqs.weight"):
        frequencies = frequencies / planned_weights(plan, "rope_freqs.weight")
    return frequencies.astype(np.float32)


def _most_heads(plan: GgufPlan) -> int:
    value = plan.model_field("attention.head_count")
    heads = value.value if value is not None else 0
    return max(int(head) for head in (heads if isinstance(heads, tuple) else (heads,)))


def _number(plan: GgufPlan, suffix: str, default: float | None = None) -> float:
    value = plan.model_field(suffix)
    if value is not None and isinstance(value.value, int | float):
        return value.value
    if default is None:
        raise UsageError(f"{plan.source.path.name} has no {plan.architecture}.{suffix}", "convert it again")
    return default
