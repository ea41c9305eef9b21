"""What one decode step of a model moves and computes, from its header."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from edgespec.catalog.cache_layout import cache_layout
from edgespec.catalog.metadata import GgufMetadata, TensorInfo
from edgespec.llama.shortlist import FREQUENT_TOKENS, shortlist_for
from edgespec.session.fast_draft import FAST_BPW, FAST_TYPE, wants_fast_copy

ASSUMED_DEPTH: Final = 256
"""Tokens in the cache at which steps are predicted: a question and half an answer."""
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
_BLOCK_EMBEDDING: Final = "per_layer_token_embd.weight"
"""Never multiplied with: a row of it is looked up (Gemma's E models)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One decode: every weight is read once, whatever the rows, but of experts those that some row wakes."""

    bytes_by_type: Mapping[str, int]
    """Bytes of weights that one row reads, by tensor type, such as `Q4_K`."""
    n_elements: int
    """Weights that each row is multiplied with: twice as many operations a row."""
    n_blocks: int
    kv_bytes: int
    """Of the cache and of recurrent states, which are read once a decode."""

    expert_bytes: Mapping[str, int] = field(default_factory=dict)
    """Of all experts, by type."""
    expert_share: float = 1.0
    """Of them, how many a row wakes."""

    @property
    def n_bytes(self) -> int:
        """All weights that one row reads."""
        return sum(self.bytes_by_type.values())

    def bytes_of(self, rows: int) -> dict[str, float]:
        """Bytes of weights that a decode of so many rows reads, by type, as if every row woke experts by chance: `1 - (1 - p)^n` of
        them. Neighbours in a text share more, so this is the most.
        """
        more = 1.0 - (1.0 - self.expert_share) ** rows - self.expert_share
        return {
            name: n_bytes + more * self.expert_bytes.get(name, 0)
            for name, n_bytes in self.bytes_by_type.items()
        }


def workload_of(meta: GgufMetadata, depth: int = ASSUMED_DEPTH) -> Workload:
    """The workload of a model as its file is.

    An embedding that is not the output matrix too is not counted, because only single rows of it are read, nor are
    experts that a token does not use.

    Args:
        meta: Header of the model.
        depth: Tokens in the cache.
    """
    bytes_by_type: Counter[str] = Counter()
    expert_bytes: Counter[str] = Counter()
    elements = 0.0
    for tensor in _multiplied(meta):
        share = _used_share(meta, tensor)
        bytes_by_type[tensor.ggml_type] += round(share * tensor.n_bytes)
        if share < 1.0:
            expert_bytes[tensor.ggml_type] += tensor.n_bytes
        elements += share * tensor.n_elements
    kv_bytes = cache_layout(meta).read_bytes(depth)
    return Workload(
        dict(bytes_by_type),
        round(elements),
        meta.block_count or 0,
        kv_bytes,
        dict(expert_bytes),
        _expert_share(meta),
    )


def fast_draft_workload(meta: GgufMetadata) -> Workload:
    """The workload of a draft on the CPU, where edgespec takes a Q4_0 copy and a shortlist of tokens, at `ASSUMED_DEPTH`.

    Args:
        meta: Header of the draft as published; one that is small already is taken as it is.
    """
    if not wants_fast_copy(meta):
        return workload_of(meta)
    vocab = meta.vocab_size
    listed = FREQUENT_TOKENS / vocab if vocab and shortlist_for(vocab) else 1.0
    tensors = _multiplied(meta)
    output = _output_name(tensors)
    elements = sum(
        (listed if tensor.name == output else 1.0) * _used_share(meta, tensor) * tensor.n_elements
        for tensor in tensors
        if len(tensor.shape) > 1
    )
    n_bytes = round(elements * FAST_BPW / 8)
    experts = sum(tensor.n_elements for tensor in tensors if _used_share(meta, tensor) < 1.0)
    kv_bytes = cache_layout(meta).read_bytes(ASSUMED_DEPTH)
    return Workload(
        {FAST_TYPE: n_bytes},
        round(elements),
        meta.block_count or 0,
        kv_bytes,
        {FAST_TYPE: round(experts * FAST_BPW / 8)},
        _expert_share(meta),
    )


def _multiplied(meta: GgufMetadata) -> list[TensorInfo]:
    untied = any(tensor.name == _OUTPUT for tensor in meta.tensors)
    looked_up = {_BLOCK_EMBEDDING, *([_EMBEDDING] if untied else [])}
    return [tensor for tensor in meta.tensors if tensor.name not in looked_up]


def _output_name(tensors: list[TensorInfo]) -> str:
    return _OUTPUT if any(tensor.name == _OUTPUT for tensor in tensors) else _EMBEDDING


def _used_share(meta: GgufMetadata, tensor: TensorInfo) -> float:
    return _expert_share(meta) if "_exps." in tensor.name else 1.0


def _expert_share(meta: GgufMetadata) -> float:
    used, count = meta.expert_used_count, meta.expert_count
    return used / count if used and count else 1.0
