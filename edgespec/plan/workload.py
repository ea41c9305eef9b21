"""What one decode step of a model moves and computes, from its header."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
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
    """One decode of a few rows: every weight is read once, whatever the rows."""

    bytes_by_type: Mapping[str, int]
    """Bytes of weights that are read, by tensor type, such as `Q4_K`."""
    n_elements: int
    """Weights that each row is multiplied with: twice as many operations a row."""
    n_blocks: int
    kv_bytes: int
    """Of the cache and of recurrent states, which are read once a decode."""

    @property
    def n_bytes(self) -> int:
        """All weights that are read."""
        return sum(self.bytes_by_type.values())


def workload_of(meta: GgufMetadata, depth: int = ASSUMED_DEPTH) -> Workload:
    """The workload of a model as its file is.

    An embedding that is not the output matrix too is not counted, because only single rows of it are read, nor are
    experts that a token does not use.

    Args:
        meta: Header of the model.
        depth: Tokens in the cache.
    """
    bytes_by_type: Counter[str] = Counter()
    elements = 0.0
    for tensor in _multiplied(meta):
        share = _used_share(meta, tensor)
        bytes_by_type[tensor.ggml_type] += round(share * tensor.n_bytes)
        elements += share * tensor.n_elements
    kv_bytes = cache_layout(meta).read_bytes(depth)
    return Workload(dict(bytes_by_type), round(elements), meta.block_count or 0, kv_bytes)


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
    kv_bytes = cache_layout(meta).read_bytes(ASSUMED_DEPTH)
    return Workload({FAST_TYPE: n_bytes}, round(elements), meta.block_count or 0, kv_bytes)


def _multiplied(meta: GgufMetadata) -> list[TensorInfo]:
    untied = any(tensor.name == _OUTPUT for tensor in meta.tensors)
    looked_up = {_BLOCK_EMBEDDING, *([_EMBEDDING] if untied else [])}
    return [tensor for tensor in meta.tensors if tensor.name not in looked_up]


def _output_name(tensors: list[TensorInfo]) -> str:
    return _OUTPUT if any(tensor.name == _OUTPUT for tensor in tensors) else _EMBEDDING


def _used_share(meta: GgufMetadata, tensor: TensorInfo) -> float:
    if "_exps." in tensor.name and meta.expert_used_count and meta.expert_count:
        return meta.expert_used_count / meta.expert_count
    return 1.0
