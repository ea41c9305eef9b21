"""What a pair is opened with."""

from dataclasses import dataclass, field
from enum import StrEnum

from edgespec.llama.context_settings import ContextSettings, FlashAttention
from edgespec.llama.kv_types import KvType
from edgespec.llama.placement import PlacementRequest
from edgespec.llama.rpc import Endpoint
from edgespec.ranges import check_ranges

DEFAULT_N_CTX = 4096
"""Tokens that a context has at least where nobody says how many, if the model was trained with as many; 112 MiB of KV cache for
Qwen2.5-Coder 1.5B."""


class DraftType(StrEnum):
    """In which types a draft runs."""

    AUTO = "auto"
    """A Q4_0 copy where that is faster: all weights on the CPU and the published types are larger."""
    AS_IS = "as-is"
    """The published file."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How models are placed and contexts made. The defaults suit a machine without an accelerator, too.

    Raises:
        UsageError: a number outside its range.
    """

    n_ctx: int = 0
    """Context in tokens; 0 takes what the model was trained with, as far as its cache is small (`choose_n_ctx`)."""
    n_threads: int = 0
    """0 takes the cores that llama.cpp's own tools would."""
    placement: PlacementRequest = field(default_factory=PlacementRequest)
    draft_placement: PlacementRequest = field(default_factory=PlacementRequest)
    kv_type_k: KvType = KvType.F16
    """Of the KV cache's keys."""
    kv_type_v: KvType = KvType.F16
    """Of its values, which bear a small type better than keys do."""
    flash_attention: FlashAttention = "auto"
    kv_offload: bool = True
    """Whether layers on a device have their part of the KV cache there; without it, it stays in this machine's memory."""
    draft_type: DraftType = DraftType.AUTO
    rpc: tuple[Endpoint, ...] = ()
    """Servers whose devices take layers of the target, and of the draft where it names them."""

    def __post_init__(self) -> None:
        check_ranges(ctx_size=self.n_ctx, threads=self.n_threads)

    def context(self, n_ctx: int, n_threads: int, n_outputs_max: int) -> ContextSettings:
        """The settings of one context.

        Args:
            n_ctx: Tokens.
            n_threads: Of the CPU; 0 is not resolved here.
            n_outputs_max: Rows with logits in one decode.
        """
        return ContextSettings(
            n_ctx=n_ctx,
            n_threads=n_threads,
            n_outputs_max=n_outputs_max,
            type_k=self.kv_type_k,
            type_v=self.kv_type_v,
            flash_attention=self.flash_attention,
            kv_offload=self.kv_offload,
        )
