"""What llama.cpp takes to compute a batch, besides weights and caches: estimated from the shapes of its graph.

Its allocator gives a tensor the place of others that nobody reads any more, so a graph takes what its widest block does
(ggml-alloc.c). Of SmolLM2, Qwen2.5 and gemma3-270m the whole memory comes out within 2 % of what llama.cpp reserves, with 4,096
and 32,768 tokens, with flash attention and without. Asked itself it is exact, and takes longer (`llama/reservation.py`).
"""

from typing import Final

from edgespec.catalog.block_kinds import BlockKinds, integer, integers, kinds_of_blocks
from edgespec.catalog.cache_layout import CacheLayout, CacheNeeds
from edgespec.catalog.metadata import GgufMetadata

_FLOAT_BYTES: Final = 4
_MASK_BYTES: Final = 2
"""Of one element of the attention mask, F16; F32 without flash attention."""
_SCORE_BYTES: Final = {
    "deepseek32": 12,
    "deepseek4": 4,
    "dots3note": 10,
    "glm-dsa": 12,
    "glm5-next": 21,
    "hy_v4": 12,
}
"""Of a row and a token, masks included, where an indexer scores all tokens beside flash attention; measured on files of llama.cpp's tests."""
_WITHOUT_FLASH: Final = frozenset({"grok"})
"""llama.cpp forces it off (llama-context.cpp)."""


def buffer_bytes(
    meta: GgufMetadata,
    layout: CacheLayout,
    needs: CacheNeeds,
    n_rows: int,
    n_outputs: int,
    *,
    flash_attention: bool = True,
) -> tuple[int, int]:
    """Bytes that are alive at once in the block that takes most or in the output; and what the context adds to them.

    The second is what a batch has for every row and every token of the context: a mask for each kind of cache, and
    where scores are computed apart, what they take beyond the first.

    Args:
        meta: Header of the model.
        layout: Its caches.
        needs: Tokens, and whether windows are full.
        n_rows: Rows of the batch.
        n_outputs: Rows with logits.
        flash_attention: Without it all heads have their scores at once.
    """
    kinds = kinds_of_blocks(meta)
    compute = max(
        n_rows * _block_width(meta, kinds) * _FLOAT_BYTES,
        (n_rows * (meta.embedding_length or 0) + n_outputs * meta.vocab_size) * _FLOAT_BYTES,
    )
    scan = _scan_bytes(meta, n_rows) if kinds.recurrent else 0
    has_flash = flash_attention and meta.architecture not in _WITHOUT_FLASH
    if beside := _indexer_bytes(meta, kinds, has_flash=has_flash):
        return max(compute, scan), round(n_rows * needs.cells * beside)
    cells = {bool(cache.window): cache.cells(needs) for cache in layout.caches}
    masks = n_rows * sum(cells.values()) * (_MASK_BYTES if has_flash else _FLOAT_BYTES)
    attended = _attended_bytes(meta, layout, needs, n_rows, has_flash=has_flash) if cells else 0
    if kinds.cached and min(kinds.recurrent, default=0) > max(kinds.cached):
        # No block behind the last attention needs its masks.
        return compute, max(masks + max(compute, attended), scan) - compute
    compute = max(compute, scan)
    return compute, masks + max(0, attended - compute)


def _attended_bytes(
    meta: GgufMetadata, layout: CacheLayout, needs: CacheNeeds, n_rows: int, *, has_flash: bool
) -> int:
    """What attention has beside masks: the input (twice, as llama.cpp takes tokens or vectors) and its norm, queries before and after,
    keys, values; and copies of the cache, or scores of all heads.
    """
    kinds = kinds_of_blocks(meta)
    queries, keys, values = _projections(meta, kinds)
    is_latent = any(not cache.value_width for cache in layout.caches)
    row = 3 * (meta.embedding_length or 0) + 2 * queries + keys + (0 if is_latent else values)
    if has_flash:
        return n_rows * row * _FLOAT_BYTES + _cast_bytes(layout, needs)
    cells = max(cache.cells(needs) for cache in layout.caches)
    # Values that are read out of the keys have to be turned first.
    turned = cells * values * _MASK_BYTES if is_latent else 0
    return n_rows * (row + _heads(meta) * cells) * _FLOAT_BYTES + turned


def _indexer_bytes(meta: GgufMetadata, kinds: BlockKinds, *, has_flash: bool) -> float:
    """Of a row and a token, masks included, where an indexer scores them."""
    heads = integer(meta, "attention.indexer.head_count")
    if meta.architecture == "minimax-m3":
        # A mask for each head, before and after it is transposed, and those that all blocks share; none without flash attention.
        return (8 * heads + (10 if len(kinds.indexed) > 1 else 2)) * has_flash
    beside = _SCORE_BYTES.get(meta.architecture, 0.0)
    if meta.architecture == "qwen4exp":
        # Scores of groups of tokens, before and after a rectifier (build_qsa_top_k), and masks.
        beside = 8 + 8 * heads / max(1, *integers(meta, "attention.compress_ratios", kinds.count, 1))
    if beside and not has_flash:
        beside += _FLOAT_BYTES * (1 + _heads(meta))
    return beside


def _cast_bytes(layout: CacheLayout, needs: CacheNeeds) -> int:
    """Flash attention reads F16: of a cache in F32 it makes a copy, block by block."""
    f32 = 4
    widths = (
        cache.cells(needs)
        * (
            (needs.bytes_per_element_k == f32) * cache.key_width
            + (needs.bytes_per_element_v == f32) * cache.value_width
        )
        for cache in layout.caches
    )
    return max(widths, default=0) * _MASK_BYTES


def _block_width(meta: GgufMetadata, kinds: BlockKinds) -> int:
    """Floats of a row that are alive at once in the block that takes most, its attention apart."""
    indexers = (
        2 * integer(meta, "attention.indexer.head_count") * integer(meta, "attention.indexer.key_length")
    )
    widest = max(_attention_width(meta, kinds), _feed_forward_width(meta, kinds))
    return 2 * (meta.embedding_length or 0) + widest + indexers


def _attention_width(meta: GgufMetadata, kinds: BlockKinds) -> int:
    """Queries and keys before and after their rotation, and values."""
    queries, keys, values = _projections(meta, kinds)
    return 2 * queries + 2 * keys + values


def _projections(meta: GgufMetadata, kinds: BlockKinds) -> tuple[int, int, int]:
    """Widths of queries, keys and values."""
    if not kinds.cached:
        return 0, 0, 0
    kv_heads = max(kinds.kv_heads[block] for block in kinds.cached)
    key, value = meta.key_length or 0, meta.value_length or 0
    return _heads(meta) * key, kv_heads * key, kv_heads * value


def _feed_forward_width(meta: GgufMetadata, kinds: BlockKinds) -> int:
    """Gate, up and their product, of each expert that is used, and two rows of the model's width or one of its queries."""
    width = meta.embedding_length or 0
    dense = max(integers(meta, "feed_forward_length", kinds.count), default=0)
    used = (
        max(integers(meta, "expert_used_count", kinds.count), default=0)
        if _has_expert_rows(meta, kinds)
        else 0
    )
    each = max(integers(meta, "expert_feed_forward_length", kinds.count), default=0) or dense
    inner = max(dense, used * each)
    # A product that is no wider finds a place where the input and its norm were.
    product = inner if inner > 2 * width else 0
    return 2 * inner + product + width + max(width, _projections(meta, kinds)[0])


def _has_expert_rows(meta: GgufMetadata, kinds: BlockKinds) -> bool:
    """Whether experts see all rows: behind the last attention only those with logits are left."""
    names = (tensor.name.split(".") for tensor in meta.tensors if "_exps." in tensor.name)
    blocks = {int(parts[1]) for parts in names if parts[0] == "blk"}
    return not blocks or min(blocks) < kinds.count - 1


def _scan_bytes(meta: GgufMetadata, n_rows: int) -> int:
    """A state space's projections, its convolution before and after, and its output with the state."""
    inner, state = integer(meta, "ssm.inner_size"), integer(meta, "ssm.state_size")
    groups = integer(meta, "ssm.group_count")
    mixed = inner + 2 * groups * state
    row = 3 * (meta.embedding_length or 0) + 2 * inner + 3 * mixed
    return (n_rows * row + (0 if groups else inner * state)) * _FLOAT_BYTES


def _heads(meta: GgufMetadata) -> int:
    count = meta.head_count
    return max(count, default=0) if isinstance(count, list) else count or 0
