"""The tensors of a file that is not here, and the types that llama-quantize would give them.

Names and shapes are those of llama.cpp's `load_arch_tensors` (src/models), types those of `llama_tensor_get_type_impl`
(src/llama-quant.cpp). Norms and other vectors are left out: they are nothing beside the matrices.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from edgespec.catalog.dimensions import Dimensions, Experts, Recurrent
from edgespec.catalog.gguf_types import BLOCKS, NARROW_TYPES
from edgespec.catalog.metadata import TensorInfo

MIXES: Final[dict[str, tuple[str, str, str]]] = {
    "F16": ("F16", "F16", "F16"),
    "BF16": ("BF16", "BF16", "BF16"),
    "Q8_0": ("Q8_0", "Q8_0", "Q8_0"),
    "Q6_K": ("Q6_K", "Q6_K", "Q6_K"),
    "Q5_K_M": ("Q5_K", "Q6_K", "Q6_K"),
    "Q5_0": ("Q5_0", "Q5_0", "Q6_K"),
    "Q4_K_M": ("Q4_K", "Q6_K", "Q6_K"),
    "Q4_K_S": ("Q4_K", "Q4_K", "Q6_K"),
    "Q4_1": ("Q4_1", "Q4_1", "Q6_K"),
    "Q4_0": ("Q4_0", "Q4_0", "Q6_K"),
    "MXFP4": ("Q8_0", "Q8_0", "Q8_0"),
    "Q3_K_M": ("Q3_K", "Q4_K", "Q6_K"),
    "Q2_K": ("Q2_K", "Q3_K", "Q6_K"),
}
"""Label of a file to the types of most tensors, of those that get more bits, and of the output (llama-quant.cpp)."""
_EXPERTS_IN: Final = {"MXFP4": "MXFP4"}
"""Label to the type of experts, where it is their own."""
_GATED_ATTENTION: Final = frozenset({"qwen35", "qwen35moe"})
"""Queries come with a gate of the same width."""
_DENSE_BESIDE_EXPERTS: Final = "gemma4"
"""Its blocks have a dense network and a mixture."""
_EXPERTS_WITH_BIASES: Final = "gpt-oss"


@dataclass(slots=True)
class _Types:
    """What type a tensor gets: of values and down projections some get more bits, by how manieth they are."""

    label: str
    n_values: int
    blocks: int
    _values: int = field(default=0)

    def base(self) -> str:
        return MIXES[self.label][0]

    def value(self) -> str:
        """Of the next value matrix."""
        self._values += 1
        return self._better(self._values - 1, self.n_values)

    def down(self, block: int) -> str:
        return self._better(block, self.blocks)

    def output(self) -> str:
        return MIXES[self.label][2]

    def _better(self, place: int, count: int) -> str:
        base, more, _ = MIXES[self.label]
        return more if _gets_more_bits(place, count) else base


def sketch_tensors(shape: Dimensions, label: str) -> Iterator[TensorInfo]:
    """The matrices that a file of this quantization would hold.

    Args:
        shape: Sizes of the model.
        label: One of `MIXES`.
    """
    types = _Types(label, sum(_has_values(shape, block) for block in range(shape.blocks)), shape.blocks)
    width = shape.embedding
    yield _tensor("token_embd.weight", width, shape.vocab, types.output() if shape.tied else types.base())
    if inputs := shape.block_embedding:
        yield _tensor("per_layer_token_embd.weight", inputs * shape.blocks, shape.vocab, types.output())
        yield _tensor("per_layer_model_proj.weight", width, inputs * shape.blocks, "BF16")
    for block in range(shape.blocks):
        yield from _mixer(shape, block, types)
        yield from _feed_forward(shape, block, types)
        if inputs:
            yield _tensor(f"blk.{block}.inp_gate.weight", width, inputs, types.base())
            yield _tensor(f"blk.{block}.proj.weight", inputs, width, types.base())
    if not shape.tied:
        yield _tensor("output.weight", width, shape.vocab, types.output())


def _has_values(shape: Dimensions, block: int) -> bool:
    """Whether a block has a matrix that counts as one of values: `attn_v`, or `attn_qkv` with them in it."""
    if shape.is_recurrent(block):
        return shape.architecture in _GATED_ATTENTION
    if shape.shares_cache(block):
        return False
    window = shape.window
    return window is None or not window.keys_as_values or shape.is_windowed(block)


def _mixer(shape: Dimensions, block: int, types: _Types) -> Iterator[TensorInfo]:
    """Attention, or what stands in its place."""
    kind = shape.recurrent
    if kind is None or not shape.is_recurrent(block):
        yield from _attention(shape, block, types)
    elif not kind.inner:
        yield from _short_convolution(shape, block, types)
    elif shape.architecture in _GATED_ATTENTION:
        yield from _linear_attention(shape, kind, block, types)
    else:
        yield from _state_space(shape, kind, block, types)


def _attention(shape: Dimensions, block: int, types: _Types) -> Iterator[TensorInfo]:
    prefix, width = f"blk.{block}.", shape.embedding
    head = shape.head_length_of(block)
    queries, keys = head * shape.heads, head * shape.kv_heads_of(block)
    gated = 2 if shape.architecture in _GATED_ATTENTION else 1
    if shape.architecture == "phi3":
        yield _tensor(prefix + "attn_qkv.weight", width, queries + 2 * keys, types.value())
    else:
        yield _tensor(prefix + "attn_q.weight", width, gated * queries, types.base())
        if not shape.shares_cache(block):
            yield _tensor(prefix + "attn_k.weight", width, keys, types.base())
        if _has_values(shape, block):
            yield _tensor(prefix + "attn_v.weight", width, keys, types.value())
    yield _tensor(prefix + "attn_output.weight", queries, width, types.base())


def _short_convolution(shape: Dimensions, block: int, types: _Types) -> Iterator[TensorInfo]:
    prefix, width = f"blk.{block}.shortconv.", shape.embedding
    yield _tensor(prefix + "in_proj.weight", width, 3 * width, types.base())
    yield _tensor(prefix + "out_proj.weight", width, width, types.base())


def _linear_attention(shape: Dimensions, kind: Recurrent, block: int, types: _Types) -> Iterator[TensorInfo]:
    prefix, width = f"blk.{block}.", shape.embedding
    mixed = kind.inner + 2 * kind.groups * kind.state
    yield _tensor(prefix + "attn_qkv.weight", width, mixed, types.value())
    yield _tensor(prefix + "attn_gate.weight", width, kind.inner, types.base())
    yield _tensor(prefix + "ssm_alpha.weight", width, kind.heads, types.base())
    yield _tensor(prefix + "ssm_beta.weight", width, kind.heads, types.base())
    yield _tensor(prefix + "ssm_conv1d.weight", kind.kernel, mixed, "F32")
    yield _tensor(prefix + "ssm_out.weight", kind.inner, width, types.base())


def _state_space(shape: Dimensions, kind: Recurrent, block: int, types: _Types) -> Iterator[TensorInfo]:
    prefix, width = f"blk.{block}.", shape.embedding
    mixed = kind.inner + 2 * kind.groups * kind.state
    yield _tensor(prefix + "ssm_in.weight", width, kind.inner + mixed + kind.heads, types.base())
    yield _tensor(prefix + "ssm_conv1d.weight", kind.kernel, mixed, "F32")
    yield _tensor(prefix + "ssm_out.weight", kind.inner, width, types.base())


def _feed_forward(shape: Dimensions, block: int, types: _Types) -> Iterator[TensorInfo]:
    prefix, experts = f"blk.{block}.ffn_", shape.experts
    if experts is not None and shape.has_experts(block):
        yield from _mixture(shape, experts, block, types)
        if shape.architecture != _DENSE_BESIDE_EXPERTS:
            return
    hidden = shape.feed_forward_of(block)
    yield from _network(prefix, "", shape.embedding, hidden, (types.base(), types.down(block)))


def _mixture(shape: Dimensions, experts: Experts, block: int, types: _Types) -> Iterator[TensorInfo]:
    prefix, width, count = f"blk.{block}.ffn_", shape.embedding, experts.count
    own = _EXPERTS_IN.get(types.label)
    kinds = (own, own) if own else (types.base(), types.down(block))
    yield _tensor(prefix + "gate_inp.weight", width, count, "F32")
    yield from _network(prefix, "_exps", width, experts.feed_forward, kinds, count)
    if shape.architecture == _EXPERTS_WITH_BIASES:
        for name, rows in (("gate", experts.feed_forward), ("up", experts.feed_forward), ("down", width)):
            yield _tensor(f"{prefix}{name}_exps.bias", rows, count, "F32")
    if experts.shared_feed_forward:
        shared = (types.base(), types.down(block))
        yield from _network(prefix, "_shexp", width, experts.shared_feed_forward, shared)


def _network(
    prefix: str, suffix: str, width: int, hidden: int, kinds: tuple[str, str], count: int = 1
) -> Iterator[TensorInfo]:
    """Gate, up and down of a feed-forward network, or of `count` experts."""
    usual, down = kinds
    yield _tensor(f"{prefix}gate{suffix}.weight", width, hidden, usual, count)
    yield _tensor(f"{prefix}up{suffix}.weight", width, hidden, usual, count)
    yield _tensor(f"{prefix}down{suffix}.weight", hidden, width, down, count)


def _gets_more_bits(place: int, count: int) -> bool:
    """The first and last eighth and every third between (`use_more_bits` in llama-quant.cpp)."""
    eighth = count // 8
    return place < eighth or place >= 7 * count // 8 or (place - eighth) % 3 == 2


def _tensor(name: str, columns: int, rows: int, ggml_type: str, count: int = 1) -> TensorInfo:
    while columns % BLOCKS[ggml_type][0]:
        ggml_type = NARROW_TYPES.get(ggml_type, "F16")
    weights, n_bytes = BLOCKS[ggml_type]
    dimensions = (columns, rows, count) if count > 1 else (columns, rows)
    return TensorInfo(name, dimensions, ggml_type, columns // weights * n_bytes * rows * count, 0)
