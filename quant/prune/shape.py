"""The sizes of a model whose heads and neurons can leave."""

from dataclasses import dataclass
from typing import Final

from edgespec.errors import UsageError
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import column_multiple, find_tensor

WIDTH_ARCHITECTURES: Final = ("llama", "qwen2")
"""Those whose widths can be cut: quant/prune/recast.py knows how a loader accepts what is left of them."""
_MIN_NEURON_MULTIPLE: Final = 32
"""The smallest block of a quantized type (ggml-common.h): a model that is F16 now can still be quantized later."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a model whose blocks are all alike."""

    n_blocks: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ff: int
    neuron_multiple: int
    """Neurons of a block must be a multiple of that for `ffn_down` to keep its type."""

    @property
    def group_parameters(self) -> int:
        """Weights of a KV group: its queries, key, value, and columns of the output."""
        return (2 * self.n_head // self.n_head_kv + 2) * self.head_dim * self.n_embd

    @property
    def neuron_parameters(self) -> int:
        """Weights of a neuron: gate, up, down."""
        return 3 * self.n_embd

    @property
    def block_parameters(self) -> int:
        """Weights of a block's matrices."""
        return self.n_head_kv * self.group_parameters + self.n_ff * self.neuron_parameters


def read_shape(plan: GgufPlan) -> ModelShape:
    """The shape of a plan's model.

    Raises:
        UsageError: an architecture whose widths cannot be cut, a mixture of experts, or sizes that differ by block or that
            the file does not say.
    """
    _check_architecture(plan)
    n_blocks, n_embd, n_head, n_ff = (
        _integer(plan, key)
        for key in ("block_count", "embedding_length", "attention.head_count", "feed_forward_length")
    )
    down = [find_tensor(plan, f"blk.{block}.ffn_down.weight") for block in range(n_blocks)]
    return ModelShape(
        n_blocks=n_blocks,
        n_embd=n_embd,
        n_head=n_head,
        n_head_kv=_integer(plan, "attention.head_count_kv", n_head),
        head_dim=head_size(plan),
        n_ff=n_ff,
        neuron_multiple=max(
            (_MIN_NEURON_MULTIPLE, *(column_multiple(tensor.ggml_type) for tensor in down if tensor))
        ),
    )


def head_size(plan: GgufPlan) -> int:
    """Width of a head of queries and keys: as the file says, else the residual stream's divided by the heads.

    Raises:
        UsageError: the file does not say how wide its heads are, or not with one number for all blocks.
    """
    stored = plan.integer("attention.key_length")
    if stored is not None:
        return stored
    width, heads = plan.integer("embedding_length"), plan.integer("attention.head_count")
    if width is None or heads is None:
        raise UsageError(f"{plan.source.path.name} does not say how wide its heads are", "convert it again")
    return width // heads


def _check_architecture(plan: GgufPlan) -> None:
    if plan.architecture not in WIDTH_ARCHITECTURES:
        raise UsageError(
            f"widths of the architecture {plan.architecture or 'unknown'} cannot be cut",
            f"those that can: {', '.join(WIDTH_ARCHITECTURES)}",
        )
    if plan.source.expert_count:
        raise UsageError(
            f"{plan.source.path.name} is a mixture of {plan.source.expert_count} experts, whose widths cannot be cut",
            "use `method` depth",
        )


def _integer(plan: GgufPlan, key: str, default: int | None = None) -> int:
    value = plan.integer(key)
    if value is not None:
        return value
    if default is not None and plan.model_field(key) is None:
        return default
    raise UsageError(
        f"{plan.source.path.name} has no single {plan.architecture}.{key}",
        "cut the widths of the model before it was cut for the first time",
    )
