"""What a model keeps of the tokens that it has read: caches that grow with the context, and states that do not.

The rules are llama.cpp's: `llama_model::create_memory` (src/llama-model.cpp) says which blocks have a cache, the
`load_arch_hparams` of src/models how wide its cells are. Of an architecture that is not named here every block has a
cache of full length, which is on the safe side.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edgespec.catalog.block_kinds import (
    LIKE_THE_PLAIN_ONES,
    BlockKinds,
    integer,
    integers,
    kinds_of_blocks,
)
from edgespec.catalog.metadata import GgufMetadata
from edgespec.kv_cells import padded_cells, window_cells

_STATE_BYTES: Final = 4
"""Of an element of a recurrent state, which is F32."""
_COMPRESSED: Final = (4, 128)
"""Tokens that share a cell in DeepSeek 4's compressed caches (llama-kv-cache-dsv4.cpp): the first kind has an indexer."""
_KEEPS_SNAPSHOTS: Final = frozenset(
    {"bailingmoe3", "deepseek4", "glm5-next", "kimi-k3", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe"}
    | {"qwen35", "qwen35moe", "qwen4exp"}
)
"""`llm_arch_supports_rs_rollback` of src/llama-arch.cpp."""


@dataclass(frozen=True, slots=True)
class CacheNeeds:
    """What the size of a cache depends on besides the model."""

    n_ctx: int
    """Tokens."""
    bytes_per_element_k: float = 2
    """Of keys: 2 for F16, 1.0625 for Q8_0, 0.5625 for Q4_0."""
    bytes_per_element_v: float = 2
    """Of values."""
    n_ubatch: int = 512
    """Tokens computed at once."""
    n_sequences: int = 1
    """Each has states of its own; the cells are shared or divided."""
    n_snapshots: int = 0
    """Older states that are kept beside each state (`n_rs_seq`), where the architecture can."""
    full_windows: bool = True
    """Blocks with a sliding window have cells for the whole context (`swa_full`)."""

    @property
    def cells(self) -> int:
        """Tokens of context, as llama.cpp rounds them."""
        return padded_cells(self.n_ctx)


@dataclass(frozen=True, slots=True)
class BlockCache:
    """The cache of one block; its indexer's is another."""

    key_width: int
    """Elements of a cell."""
    value_width: int
    """0 where values are read out of the keys, as latent attention (MLA) does."""
    window: int = 0
    """Tokens that it looks back; 0: all."""
    tokens_per_cell: int = 1

    def cells(self, needs: CacheNeeds) -> int:
        """Cells that llama.cpp makes."""
        if self.tokens_per_cell > 1:
            return padded_cells(needs.cells // self.tokens_per_cell)
        if not self.window or needs.full_windows:
            return needs.cells
        return window_cells(needs.cells, self.window, needs.n_ubatch, needs.n_sequences)

    def cell_bytes(self, needs: CacheNeeds) -> float:
        """Bytes of a cell."""
        return self.key_width * needs.bytes_per_element_k + self.value_width * needs.bytes_per_element_v


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """All caches and states of a model."""

    caches: tuple[BlockCache, ...]
    state_bytes: int
    """Of the recurrent states of one sequence, without snapshots."""
    keeps_snapshots: bool
    """Whether llama.cpp can keep older states beside it."""

    def kv_bytes(self, needs: CacheNeeds) -> int:
        """Bytes of all caches."""
        return round(sum(cache.cells(needs) * cache.cell_bytes(needs) for cache in self.caches))

    def all_states_bytes(self, needs: CacheNeeds) -> int:
        """Bytes of all states, snapshots included."""
        copies = 1 + (needs.n_snapshots if self.keeps_snapshots else 0)
        return self.state_bytes * copies * max(1, needs.n_sequences)

    def read_bytes(self, depth: int) -> int:
        """Bytes that a decode reads of them in F16, with so many tokens read before it."""
        needs = CacheNeeds(n_ctx=0)
        read = sum(
            min(depth, cache.window or depth) // cache.tokens_per_cell * cache.cell_bytes(needs)
            for cache in self.caches
        )
        return round(read) + self.state_bytes


def cache_layout(meta: GgufMetadata) -> CacheLayout:
    """The caches and states of a model.

    Args:
        meta: Its header. What it lacks counts as 0.
    """
    kinds = kinds_of_blocks(meta)
    caches = (*_block_caches(meta, kinds), *_indexer_caches(meta, kinds), *_compressed_caches(meta, kinds))
    return CacheLayout(caches, _state_bytes(meta, kinds), meta.architecture in _KEEPS_SNAPSHOTS)


def _block_caches(meta: GgufMetadata, kinds: BlockKinds) -> Iterator[BlockCache]:
    full = meta.key_length or 0, meta.value_length or 0
    in_window = (
        integer(meta, "attention.key_length_swa", full[0]),
        integer(meta, "attention.value_length_swa", full[1]),
    )
    latent = _is_latent(meta)
    for block in kinds.cached:
        windowed = block in kinds.windowed
        key, value = in_window if windowed else full
        heads = kinds.kv_heads[block]
        yield BlockCache(heads * key, 0 if latent else heads * value, kinds.window if windowed else 0)


def _is_latent(meta: GgufMetadata) -> bool:
    """Whether keys alone are kept (`llama_hparams::is_mla`), of DeepSeek 4 always."""
    both = ("attention.key_length_mla", "attention.value_length_mla")
    return meta.architecture == "deepseek4" or all(integer(meta, key) for key in both)


def _indexer_caches(meta: GgufMetadata, kinds: BlockKinds) -> Iterator[BlockCache]:
    """Keys of sparse attention's indexers, one head wide."""
    width = integer(meta, "attention.indexer.key_length")
    value = 0
    if meta.architecture == "glm5-next":
        # Key, gate and pooled value of each token (llama-memory-hybrid-idx.cpp).
        width *= 3 if integer(meta, "attention.indexer.kpool") else 1
    elif meta.architecture == "minimax-m3":
        value = meta.value_length or 0
    for _ in kinds.indexed:
        yield BlockCache(width, value)


def _compressed_caches(meta: GgufMetadata, kinds: BlockKinds) -> Iterator[BlockCache]:
    for ratio in _COMPRESSED:
        for block in _compressed_by(meta, kinds, ratio):
            yield BlockCache(kinds.kv_heads[block] * (meta.key_length or 0), 0, tokens_per_cell=ratio)
            if ratio == _COMPRESSED[0]:
                yield BlockCache(integer(meta, "attention.indexer.key_length"), 0, tokens_per_cell=ratio)


def _compressed_by(meta: GgufMetadata, kinds: BlockKinds, ratio: int) -> list[int]:
    if meta.architecture != "deepseek4":
        return []
    ratios = integers(meta, "attention.compress_ratios", kinds.count)
    return [block for block in range(kinds.count) if ratios[block] == ratio]


def _state_bytes(meta: GgufMetadata, kinds: BlockKinds) -> int:
    elements = len(kinds.recurrent) * _state_width(meta)
    if meta.architecture == "qwen4exp":
        elements += _phrase_history_width(meta, kinds)
    overlapping, disjoint = _COMPRESSED
    key, indexer = meta.key_length or 0, integer(meta, "attention.indexer.key_length")
    # Two tensors for each: a compressor's sums and their weights, over two overlapping groups or one.
    elements += len(_compressed_by(meta, kinds, overlapping)) * 2 * 2 * (key + indexer) * 2 * overlapping
    elements += len(_compressed_by(meta, kinds, disjoint)) * 2 * key * disjoint
    return elements * _STATE_BYTES


def _state_width(meta: GgufMetadata) -> int:
    """Elements of one block's state: `n_embd_r` and `n_embd_s` of src/llama-hparams.cpp."""
    width, heads = meta.embedding_length or 0, _first(meta.head_count)
    kernel = integer(meta, "ssm.conv_kernel")
    if wkv := integer(meta, "wkv.head_size"):
        return width * (integer(meta, "token_shift_count", 2) + wkv)
    if shortconv := integer(meta, "shortconv.l_cache"):
        return width * (shortconv - 1)
    if delta := integer(meta, "kda.head_dim"):
        return heads * delta * (3 * (kernel - 1 if kernel else 3) + delta)
    if meta.architecture == "minimax-01":
        return heads * (meta.key_length or 0) ** 2
    inner, state = integer(meta, "ssm.inner_size"), integer(meta, "ssm.state_size")
    groups = 0 if meta.architecture in LIKE_THE_PLAIN_ONES else integer(meta, "ssm.group_count")
    return max(0, kernel - 1) * (inner + 2 * groups * state) + state * inner


def _phrase_history_width(meta: GgufMetadata, kinds: BlockKinds) -> int:
    """Of qwen4exp's blocks that look up phrases (`ple_conv_state`)."""
    listed = meta.fields.get(f"{meta.architecture}.ple.layers")
    blocks = [one for one in listed if one in kinds.recurrent] if isinstance(listed, list) else []
    return (
        len(blocks)
        * max(0, integer(meta, "ple.conv_kernel") - 1)
        * integer(meta, "ple.ngram_size")
        * integer(meta, "hyper_connection.count")
        * (meta.embedding_length or 0)
    )


def _first(value: int | list[int] | None) -> int:
    return (value[0] if value else 0) if isinstance(value, list) else value or 0
