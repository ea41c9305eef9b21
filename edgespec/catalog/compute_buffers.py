"""What llama.cpp takes to compute a batch, besides weights and caches: estimated, because its allocator decides in the end.

Held against what llama.cpp reserved on the CPU with flash attention, 512 rows and 4,096 tokens: exact for
SmolLM2 135M and Qwen2.5 0.5B, from 10 % too little to 40 % too much for most tiny files of its own tests.
"""

from typing import Final

from edgespec.catalog.block_kinds import BlockKinds, integer, integers
from edgespec.catalog.cache_layout import CacheLayout, CacheNeeds
from edgespec.catalog.metadata import GgufMetadata

_FLOAT_BYTES: Final = 4
_MASK_BYTES: Final = 2
"""Of one element of the attention mask, F16."""
_SCORE_BYTES: Final = {
    "deepseek32": 12,
    "deepseek4": 4,
    "dots3note": 10,
    "glm-dsa": 12,
    "glm5-next": 21,
    "grok": 12,
    "hy_v4": 12,
    "minimax-m3": 18,
    "qwen4exp": 136,
}
"""Of a row and a token, masks included, where llama.cpp computes scores of all tokens beside flash attention; measured on files of its tests."""


def mask_bytes(meta: GgufMetadata, layout: CacheLayout, needs: CacheNeeds, n_rows: int) -> int:
    """Bytes of what a batch has for every row and every token of the context: a mask for each kind of cache.

    Args:
        meta: Header of the model.
        layout: Its caches.
        needs: Tokens, and whether windows are full.
        n_rows: Rows of the batch.
    """
    if scores := _SCORE_BYTES.get(meta.architecture):
        return n_rows * needs.cells * scores
    cells = {bool(cache.window): cache.cells(needs) for cache in layout.caches}
    return n_rows * sum(cells.values()) * _MASK_BYTES


def compute_bytes(meta: GgufMetadata, kinds: BlockKinds, n_rows: int, n_outputs: int) -> int:
    """Bytes that are alive at once in the block that takes most, or in the output.

    Args:
        meta: Header of the model.
        kinds: What its blocks keep.
        n_rows: Rows of the batch.
        n_outputs: Rows with logits.
    """
    width = meta.embedding_length or 0
    row = 2 * width + max(_attention_width(meta, kinds), _feed_forward_width(meta, kinds, 2 * width))
    if kinds.recurrent:
        row = max(row, 2 * width + _scan_width(meta))
    indexers = (
        2 * integer(meta, "attention.indexer.head_count") * integer(meta, "attention.indexer.key_length")
    )
    block = n_rows * (row + indexers)
    return max(block, n_outputs * meta.vocab_size) * _FLOAT_BYTES


def _attention_width(meta: GgufMetadata, kinds: BlockKinds) -> int:
    """Queries and keys before and after their rotation, and values."""
    if not kinds.cached:
        return 0
    count = meta.head_count
    heads = max(count, default=0) if isinstance(count, list) else count or 0
    kv_heads = max((kinds.kv_heads[block] for block in kinds.cached), default=0)
    key, value = meta.key_length or 0, meta.value_length or 0
    return 2 * heads * key + 2 * kv_heads * key + kv_heads * value


def _feed_forward_width(meta: GgufMetadata, kinds: BlockKinds, at_least: int) -> int:
    """Gate, up and their product, of each expert that is used, and two rows of the model's width."""
    dense = max(integers(meta, "feed_forward_length", kinds.count), default=0)
    used = max(integers(meta, "expert_used_count", kinds.count), default=0)
    each = max(integers(meta, "expert_feed_forward_length", kinds.count), default=0) or dense
    return 3 * max(dense, used * each) + at_least


def _scan_width(meta: GgufMetadata) -> int:
    """A state space's input, its convolution before and after, and its output."""
    inner = integer(meta, "ssm.inner_size")
    mixed = inner + 2 * integer(meta, "ssm.group_count") * integer(meta, "ssm.state_size")
    return inner + 4 * mixed
