"""What a context is made with."""

from dataclasses import dataclass
from typing import Literal

from edgespec.llama.kv_types import KvType

FlashAttention = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class ContextSettings:
    """How a context is made."""

    n_ctx: int
    """Tokens of the cache; llama.cpp rounds up to 256."""
    n_threads: int
    n_outputs_max: int = 1
    """Rows with logits in one decode; sizes the logits buffer (llama.h, `n_outputs_max`)."""
    n_batch: int = 512
    """Rows of one decode at most; llama.cpp's own default of what it computes at once (`n_ubatch`)."""
    type_k: KvType = KvType.F16
    type_v: KvType = KvType.F16
    flash_attention: FlashAttention = "auto"
    kv_offload: bool = True
    """Whether layers on a device have their part of the cache there, and attention is computed there."""
    n_sequences: int = 1
    """1 for a `Context`, and the sequences of a `SequencesContext`."""
    kv_unified: bool = False
    """Sequences share one cache of `n_ctx` tokens, and what their prompts have in common; else each has its own part
    of it, a multiple of 256 tokens (llama-context.cpp)."""
    n_snapshots: int = 0
    """Rows of a decode that a recurrent state can go back by at once, where llama.cpp can keep them (llama.h, `n_rs_seq`):
    each takes as much memory as the state."""
    full_window: bool = True
    """Whether blocks with a sliding window keep all tokens, and not only what they see and one batch more."""
