"""The sizes of a model as models.toml gives them, for predictions about a file that is not here."""

from dataclasses import dataclass
from typing import Final

ARCHITECTURES: Final = frozenset(
    {
        "gemma3",
        "gemma4",
        "gpt-oss",
        "granite",
        "granitehybrid",
        "lfm2",
        "lfm2moe",
        "llama",
        "mistral3",
        "phi3",
    }
    | {"qwen2", "qwen3", "qwen35", "qwen35moe", "qwen3moe", "smollm3"}
)
"""Those whose tensors are known; a plain transformer of another name is as `llama`."""
WINDOWED: Final = frozenset({"gemma3", "gemma4", "gpt-oss"})
"""Those of them that may have a sliding window."""
RECURRENT: Final = frozenset({"granitehybrid", "lfm2", "lfm2moe", "qwen35", "qwen35moe"})
"""Those of them that have recurrent blocks."""


@dataclass(frozen=True, slots=True)
class Experts:
    """The feed-forward networks of a mixture."""

    count: int
    used: int
    """That one token wakes in a block."""
    feed_forward: int
    """Width of one."""
    shared_feed_forward: int = 0
    """Of the one that every token wakes; 0 without."""
    dense_blocks: int = 0
    """Leading blocks without experts."""


@dataclass(frozen=True, slots=True)
class Window:
    """Blocks that look back through a sliding window; the others look at everything."""

    tokens: int
    every: int
    """Every so manieth block looks at everything."""
    head_length: int = 0
    """Width of a windowed head; 0 for that of the others."""
    kv_heads: int = 0
    """Of a windowed block; 0 for as many as the others have."""
    keys_as_values: bool = False
    """Whether the blocks that look at everything take their keys for values, too."""


@dataclass(frozen=True, slots=True)
class Recurrent:
    """Blocks with a state in place of a cache: a state space, linear attention, or a short convolution alone."""

    kernel: int
    """Tokens of the convolution."""
    every: int = 0
    """Every so manieth block has attention; 0 where `attention` names them."""
    attention: tuple[int, ...] = ()
    """Blocks with attention, counted from 0."""
    inner: int = 0
    """Width within; 0 for a convolution alone, as are the next three."""
    state: int = 0
    groups: int = 0
    heads: int = 0


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes of a transformer. Where kinds of blocks differ, the plain figures are of those that look at everything."""

    blocks: int
    embedding: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocab: int
    head_length: int = 0
    """Width of a head; 0 for embedding / heads."""
    tied: bool = False
    """Whether the embedding is the output matrix as well."""
    architecture: str = "llama"
    """As GGUF calls it, one of `ARCHITECTURES`."""
    experts: Experts | None = None
    window: Window | None = None
    recurrent: Recurrent | None = None
    shared_kv_blocks: int = 0
    """Last blocks, which read the cache of earlier ones."""
    shared_feed_forward: int = 0
    """Width of their feed-forward network; 0 for that of the others."""
    block_embedding: int = 0
    """Width of an embedding that each block has of its own; 0 without."""

    @property
    def key_length(self) -> int:
        """Width of a head."""
        return self.head_length or self.embedding // self.heads

    def is_recurrent(self, block: int) -> bool:
        """Whether a block, counted from 0, has a state in place of a cache."""
        kind = self.recurrent
        if kind is None:
            return False
        return bool((block + 1) % kind.every) if kind.every else block not in kind.attention

    def is_windowed(self, block: int) -> bool:
        """Whether a block looks back through the window."""
        return self.window is not None and bool((block + 1) % self.window.every)

    def kv_heads_of(self, block: int) -> int:
        """KV heads of a block; 0 where it is recurrent."""
        if self.is_recurrent(block):
            return 0
        return (self.window and self.is_windowed(block) and self.window.kv_heads) or self.kv_heads

    def head_length_of(self, block: int) -> int:
        """Width of a block's heads."""
        return (self.window and self.is_windowed(block) and self.window.head_length) or self.key_length

    def shares_cache(self, block: int) -> bool:
        """Whether a block reads the cache of an earlier one."""
        return block >= self.blocks - self.shared_kv_blocks

    def has_experts(self, block: int) -> bool:
        """Whether a block's feed-forward network is a mixture."""
        return self.experts is not None and block >= self.experts.dense_blocks

    def feed_forward_of(self, block: int) -> int:
        """Width of a block's dense feed-forward network."""
        return (self.shares_cache(block) and self.shared_feed_forward) or self.feed_forward
