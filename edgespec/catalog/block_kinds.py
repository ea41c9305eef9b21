"""Which blocks of a model have a KV cache, which look back through a window, and which keep a recurrent state.

From llama.cpp: the filters of `llama_model::create_memory` (src/llama-model.cpp) and the patterns that the
`load_arch_hparams` of src/models take where a file does not say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgespec.catalog.metadata import GgufMetadata

_MOST_BLOCKS: Final = 512
"""`LLAMA_MAX_LAYERS`; a header may claim any number."""
DIFFUSION: Final = ("dream", "llada", "llada-moe", "rnd1")
"""`llm_arch_is_diffusion` of src/llama-arch.cpp."""
ENCODERS: Final = (
    *("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3"),
    *("eurobert", "gemma-embedding"),
)
"""Those that have no cache."""
_NO_MEMORY: Final = frozenset({*DIFFUSION, *ENCODERS, "wavtokenizer-dec"})
"""They read a text whole each time."""
_BORROWS: Final = "gemma4-assistant"
"""It reads its target's cache and has none."""
_RECURRENT: Final = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
LIKE_THE_PLAIN_ONES: Final = frozenset({"mamba", "jamba"})
"""Architectures of Mamba's first version: no groups in their states."""
_RECURRENT_WITHOUT_KV_HEADS: Final = frozenset(
    {
        "jamba",
        "plamo2",
        "granitehybrid",
        "lfm2",
        "lfm2moe",
        "kimi-linear",
        "bailingmoe3",
        "kimi-k3",
        "glm5-next",
    }
)
_NEMOTRON: Final = frozenset({"nemotron_h", "nemotron_h_moe"})
_RECURRENT_BETWEEN: Final = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "qwen4exp": 4, "minimax-01": 8}
"""Every so manieth block has attention where the file does not say; the others are recurrent."""
_TRUNK_ONLY: Final = frozenset({*_RECURRENT_BETWEEN, "glm5-next", "glm-dsa", "deepseek32", "dots3note"})
"""Blocks that only predict further tokens (`nextn`) have no cache, as with every plain architecture."""
_ALL_BLOCKS: Final = frozenset(
    {*_RECURRENT_WITHOUT_KV_HEADS, *_NEMOTRON, "falcon-h1", "minimax-m3", "hy_v4", "deepseek4"} - _TRUNK_ONLY
)
"""Theirs have one."""
_INDEXED_BY_LIST: Final = frozenset({"glm-dsa", "glm5-next", "hy_v4", "dots3note"})
_INDEXED: Final = frozenset({*_INDEXED_BY_LIST, "deepseek32", "qwen4exp", "minimax-m3"})
_LONG_GLM: Final = 1 << 20
"""Tokens; trained for these, GLM shares an indexer between four blocks unless the file says otherwise."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A sliding window: every `every`-th block looks at everything, the first of them or the last."""

    every: int = 0
    dense_first: bool = False
    default: int = 0
    """Tokens, where the file does not say."""
    fixed: int = 0
    """Tokens, whatever the file says."""


_WINDOWS: Final = {
    "afmoe": _Window(4),
    "cohere2": _Window(4),
    "cohere2moe": _Window(4, dense_first=True),
    "exaone-moe": _Window(4, default=128),
    "exaone4": _Window(4, default=4096),
    "gemma2": _Window(2, default=4096),
    "gemma3": _Window(6),
    "gemma3n": _Window(5),
    "gpt-oss": _Window(2),
    "laguna": _Window(4, dense_first=True),
    "llama4": _Window(4, fixed=8192),
    "mellum": _Window(4),
    "muse-glimmer": _Window(4),
    "olmo2": _Window(4),
    "plamo3": _Window(8),
    "smallthinker": _Window(4, dense_first=True, fixed=4096),
    # These say it block by block in the file.
    "deepseek4": _Window(),
    "dots3note": _Window(),
    "gemma4": _Window(),
    "granite_swa": _Window(),
    "lfm2": _Window(),
    "maple": _Window(),
    "mimo2": _Window(),
    "spark2_5": _Window(),
    "step35": _Window(),
}
_EXAONE_WITH_WINDOWS: Final = 64
"""Blocks of the only EXAONE 4 that has windows."""
_GEMMA3N_OWN: Final = 20
"""Blocks of gemma3n that have a cache of their own; the others read the last of these."""


@dataclass(frozen=True, slots=True)
class BlockKinds:
    """Blocks by what they keep; a block may be in several."""

    count: int
    """All of them, as llama.cpp counts."""
    kv_heads: Sequence[int]
    cached: Sequence[int]
    windowed: frozenset[int]
    window: int
    """Tokens; 0 where no block has one."""
    recurrent: frozenset[int]
    indexed: Sequence[int]
    """Those whose sparse attention has an indexer of its own."""


def integer(meta: GgufMetadata, suffix: str, default: int = 0) -> int:
    """A number of the architecture's; `default` where the file has none, 0 for a negative one."""
    value = meta.fields.get(f"{meta.architecture}.{suffix}")
    return max(0, int(value)) if isinstance(value, int) else default


def integers(meta: GgufMetadata, suffix: str, count: int, default: int = 0) -> list[int]:
    """A number for each of `count` blocks: a list, or one number for all; `default` where the file has neither."""
    value = meta.fields.get(f"{meta.architecture}.{suffix}")
    if not isinstance(value, list):
        return [integer(meta, suffix, default)] * count
    known = [max(0, int(one)) for one in value[:count] if isinstance(one, int)]
    return known + [default] * (count - len(known))


def kinds_of_blocks(meta: GgufMetadata) -> BlockKinds:
    """What each block of a model keeps.

    Args:
        meta: Its header.
    """
    arch = meta.architecture
    count = min(meta.block_count or 0, _MOST_BLOCKS)
    heads = _kv_heads(meta, count)
    if arch == "nanbeige":
        # The blocks run several times over, each time with a cache of its own.
        loops = max(1, integer(meta, "num_loops", 1))
        count = min(count * loops, _MOST_BLOCKS)
        heads = (heads * loops)[:count]
    if arch in _NO_MEMORY or arch == _BORROWS:
        return BlockKinds(count, heads, (), frozenset(), 0, frozenset(), ())
    trunk = count - min(count, integer(meta, "nextn_predict_layers"))
    recurrent = _recurrent_blocks(meta, trunk, heads)
    window, windowed = _windowed_blocks(meta, count, trunk, recurrent)
    cached = _cached_blocks(meta, count, trunk, recurrent)
    if arch == "graniteswitch":
        # A block of one head more, which says which adapter each token has.
        heads, cached, count = [*heads, 1], [*cached, count], count + 1
    indexed = _indexed_blocks(meta, trunk, recurrent)
    return BlockKinds(count, heads, cached, windowed, window, recurrent, indexed)


def _kv_heads(meta: GgufMetadata, count: int) -> list[int]:
    stored = "attention.head_count_kv"
    if f"{meta.architecture}.{stored}" not in meta.fields:
        stored = "attention.head_count"
    return integers(meta, stored, count)


def _recurrent_blocks(meta: GgufMetadata, trunk: int, heads: Sequence[int]) -> frozenset[int]:
    arch, blocks = meta.architecture, range(trunk)
    if arch in _RECURRENT or arch == "falcon-h1":
        return frozenset(blocks)
    if arch in _RECURRENT_WITHOUT_KV_HEADS:
        return frozenset(block for block in blocks if not heads[block])
    if arch in _NEMOTRON:
        feed_forward = integers(meta, "feed_forward_length", trunk)
        return frozenset(block for block in blocks if not heads[block] and not feed_forward[block])
    if arch in _RECURRENT_BETWEEN:
        if f"{arch}.attention.recurrent_layers" in meta.fields:
            marks = integers(meta, "attention.recurrent_layers", trunk)
            return frozenset(block for block in blocks if marks[block])
        every = max(1, integer(meta, "full_attention_interval", _RECURRENT_BETWEEN[arch]))
        return frozenset(block for block in blocks if (block + 1) % every)
    return frozenset()


def _windowed_blocks(
    meta: GgufMetadata, count: int, trunk: int, recurrent: frozenset[int]
) -> tuple[int, frozenset[int]]:
    """Tokens of the window, and which blocks have it."""
    arch = meta.architecture
    rule = _WINDOWS.get(arch)
    if rule is None or (arch == "exaone4" and trunk != _EXAONE_WITH_WINDOWS):
        return 0, frozenset()
    # llama4 has its window unless the file says 0.
    stored = integer(meta, "attention.sliding_window", rule.fixed if arch == "llama4" else rule.default)
    if not stored:
        return 0, frozenset()
    window = rule.fixed or stored
    if arch == "deepseek4":
        return window, frozenset(range(count))
    if arch == "lfm2":
        return window, frozenset(range(trunk)) - recurrent
    pattern = "attention.sliding_window_pattern"
    if isinstance(meta.fields.get(f"{arch}.{pattern}"), list):
        marks = integers(meta, pattern, count)
        return window, frozenset(block for block in range(count) if marks[block])
    every = integer(meta, pattern, rule.every)
    return window, frozenset(
        block
        for block in range(trunk)
        if not every or (block % every if rule.dense_first else block % every < every - 1)
    )


def _cached_blocks(meta: GgufMetadata, count: int, trunk: int, recurrent: frozenset[int]) -> list[int]:
    arch = meta.architecture
    if arch in _RECURRENT:
        return []
    if arch == "gemma3n":
        return list(range(min(count, _GEMMA3N_OWN)))
    if arch == "gemma4":
        count = trunk = max(0, count - integer(meta, "attention.shared_kv_layers"))
    # A file that holds nothing but further-token blocks runs them as its trunk.
    blocks = range(count) if arch in _ALL_BLOCKS or (not trunk and arch not in _TRUNK_ONLY) else range(trunk)
    if arch == "falcon-h1":
        return list(blocks)
    if arch in _NEMOTRON:
        feed_forward = integers(meta, "feed_forward_length", count)
        return [block for block in blocks if block not in recurrent and not feed_forward[block]]
    return [block for block in blocks if block not in recurrent]


def _indexed_blocks(meta: GgufMetadata, trunk: int, recurrent: frozenset[int]) -> list[int]:
    arch = meta.architecture
    if arch not in _INDEXED or not integer(meta, "attention.indexer.key_length"):
        return []
    blocks = [block for block in range(trunk) if block not in recurrent]
    if arch == "minimax-m3":
        return [block for block in blocks if block >= integer(meta, "leading_dense_block_count")]
    if arch == "hy_v4" and not integer(meta, "attention.indexer.top_k"):
        return []
    if arch not in _INDEXED_BY_LIST:
        return blocks
    if f"{arch}.attention.indexer.types" in meta.fields:
        own = integers(meta, "attention.indexer.types", trunk)
    elif arch == "glm-dsa" and (meta.context_length or 0) >= _LONG_GLM:
        # The first three blocks, then every fourth: GLM_5_2_DEFAULT_INDEXER_TYPES of src/models/glm-dsa.cpp.
        own = [int(block < 2 or block % 4 == 2) for block in range(trunk)]
    else:
        own = [1] * trunk
    return [block for block in blocks if own[block]]
