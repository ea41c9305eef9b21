"""How many cells llama.cpp makes for a KV cache."""

from typing import Final

CELL_PAD: Final = 256
"""Contexts and caches of a window are a multiple of it (llama-context.cpp, llama-kv-cache-iswa.cpp)."""


def padded_cells(n_tokens: int) -> int:
    """Cells for so many tokens: 512 for 300."""
    return -(-n_tokens // CELL_PAD) * CELL_PAD


def window_cells(n_ctx: int, window: int, n_ubatch: int, n_sequences: int = 1) -> int:
    """Cells of a short cache for blocks with a sliding window: 1,024 for a window of 512 and batches of 512.

    Args:
        n_ctx: Tokens of the context.
        window: Tokens that such a block sees.
        n_ubatch: Rows that are computed at once.
        n_sequences: That share the cache.
    """
    return padded_cells(min(n_ctx, window * n_sequences + n_ubatch))
